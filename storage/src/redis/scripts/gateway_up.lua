-- Gives a new gateway its lease.
--
-- KEYS[1]  the gateway (hash)
-- ARGV[1]  for how long, in milliseconds
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], 'up', '1', 'until', string.format('%.0f', now + ARGV[1]))
redis.call('PERSIST', KEYS[1])
return 0
