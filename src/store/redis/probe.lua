-- Does once what the other scripts do, so that who may not learns it at once. What it leaves, if it fails, soon goes.
-- KEYS: two that nobody else has, which have nothing in common.
redis.call('SET', KEYS[1], '', 'NX', 'PX', 1000)
redis.call('EXISTS', KEYS[1])
redis.call('GETRANGE', KEYS[1], 0, 0)
redis.call('GET', KEYS[1])
redis.call('PTTL', KEYS[1])
redis.call('PEXPIRE', KEYS[1], 1000)
redis.call('RENAME', KEYS[1], KEYS[2])
redis.call('DEL', KEYS[2])
return 1
