-- Makes a turn last, now that its request leaves: 2, or 1 if it was over meanwhile; 0: another's has left. Who only
-- waits to send gives way, else slow connections would take turns from each other and none would ever send.
-- KEYS: the turn. ARGV: whose it is, for how many milliseconds.
local own, holder = 'sends ' .. ARGV[1], redis.call('GET', KEYS[1])
local kept = holder == own or holder == 'waits ' .. ARGV[1]
if holder and not kept and string.sub(holder, 1, 6) == 'sends ' then return 0 end
redis.call('SET', KEYS[1], own, 'PX', ARGV[2])
return kept and 2 or 1
