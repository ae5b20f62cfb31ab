-- Takes a turn that nobody has; else how many milliseconds it is still another's.
-- KEYS: the turn. ARGV: whose it shall be, for how many milliseconds, and for how many one lasts at most that sends.
-- The value is a state, 'waits' or 'sends', and the holder.
local own = 'waits ' .. ARGV[1]
if redis.call('SET', KEYS[1], own, 'NX', 'PX', ARGV[2]) then return 0 end
local holder, left = redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[1])
if holder == own then return 0 end
-- A lease ends at a time of day. If the clock was set back since, that would be too late; without an end, never.
local most = tonumber(ARGV[string.sub(holder, 1, 6) == 'sends ' and 3 or 2])
if left < 0 or left > most then
  redis.call('PEXPIRE', KEYS[1], most)
  left = most
end
return math.max(left, 1)
