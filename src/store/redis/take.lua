-- Takes a turn that nobody has; else how many milliseconds it is still another's.
-- KEYS: the turn. ARGV: whose it shall be, for how many milliseconds.
-- The value is a state, 'waits' or 'sends', and the holder.
local own = 'waits ' .. ARGV[1]
if redis.call('SET', KEYS[1], own, 'NX', 'PX', ARGV[2]) or redis.call('GET', KEYS[1]) == own then return 0 end
return math.max(redis.call('PTTL', KEYS[1]), 1)
