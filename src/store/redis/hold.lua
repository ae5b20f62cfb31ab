-- Makes a turn last, now that its request leaves; 0: another's has left. Who only waits to send gives way, else slow
-- connections would take turns from each other and none would ever send.
-- KEYS: the turn. ARGV: whose it is, for how many milliseconds.
local own, holder = 'sends ' .. ARGV[1], redis.call('GET', KEYS[1])
if holder and holder ~= own and string.sub(holder, 1, 6) == 'sends ' then return 0 end
redis.call('SET', KEYS[1], own, 'PX', ARGV[2])
return 1
