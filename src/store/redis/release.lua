-- Ends a turn, if it is still its holder's.
-- KEYS: the turn. ARGV: whose it was.
local holder = redis.call('GET', KEYS[1])
if holder ~= 'waits ' .. ARGV[1] and holder ~= 'sends ' .. ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
