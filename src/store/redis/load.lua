-- KEYS: the document. ARGV: the greatest index of a byte that is wanted.
if redis.call('EXISTS', KEYS[1]) == 0 then return false end
return redis.call('GETRANGE', KEYS[1], 0, ARGV[1])
