-- Puts a document in the place of the one that was seen, or removes that or sets it aside; 0: it is not there any more.
-- KEYS: the document, what was set aside. ARGV: the greatest index that was looked at, what was seen after a '+' or '-'
-- for none, 'put' or 'remove' or 'aside', how long to keep it in milliseconds or 0 for ever, the document.
local seen = '-'
if redis.call('EXISTS', KEYS[1]) == 1 then seen = '+' .. redis.call('GETRANGE', KEYS[1], 0, ARGV[1]) end
if seen ~= ARGV[2] then return 0 end
if ARGV[3] == 'remove' then
  redis.call('DEL', KEYS[1])
elseif ARGV[3] == 'aside' then
  redis.call('RENAME', KEYS[1], KEYS[2])
elseif ARGV[4] == '0' then
  redis.call('SET', KEYS[1], ARGV[5])
else
  redis.call('SET', KEYS[1], ARGV[5], 'PX', ARGV[4])
end
return 1
