-- Takes a turn that nobody has; else how many milliseconds it is still another's, or -1: it is not wanted any more, since
-- the document that the turn is for has changed.
-- KEYS: the turn, the document. ARGV: whose it shall be, for how many milliseconds, for how many one lasts at most that
-- sends, and how the document that was seen ends after a '+' (a sealed one ends like no other), or '-' for none, or
-- nothing: it is wanted whatever the document is.
-- The value is a state, 'waits' or 'sends', and the holder.
local own, holder = 'waits ' .. ARGV[1], redis.call('GET', KEYS[1])
if holder == own then return 0 end
if ARGV[4] ~= '' then
  local ends = redis.call('GETRANGE', KEYS[2], -16, -1)
  if (ends == '' and '-' or '+' .. ends) ~= ARGV[4] then return -1 end
end
if not holder then
  redis.call('SET', KEYS[1], own, 'PX', ARGV[2])
  return 0
end
-- A lease ends at a time of day. If the clock was set back since, that would be too late; without an end, never.
local left, most = redis.call('PTTL', KEYS[1]), tonumber(ARGV[string.sub(holder, 1, 6) == 'sends ' and 3 or 2])
if left < 0 or left > most then
  redis.call('PEXPIRE', KEYS[1], most)
  left = most
end
return math.max(left, 1)
