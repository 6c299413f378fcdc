-- Says that a worker lives.
--
-- KEYS[1]  the workers (sorted set by expiry, in milliseconds)
-- ARGV[1]  the worker
-- ARGV[2]  for how long, in milliseconds
--
-- Returns every worker that lives.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], string.format('%.0f', now + ARGV[2]), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
return redis.call('ZRANGE', KEYS[1], 0, -1)
