-- Renews a partition's lease. One whose time has run out but that nobody took is kept.
--
-- KEYS[1]  the partition's lease (hash)
-- ARGV[1]  the worker that believes to hold it
-- ARGV[2]  the epoch it was given
-- ARGV[3]  for how long from now, in milliseconds
--
-- Returns 1 when it is kept, 0 when it is lost. Kept means written: what was read before is durable when this is.
local lease = redis.call('HMGET', KEYS[1], 'worker', 'epoch')
if lease[1] ~= ARGV[1] or lease[2] ~= ARGV[2] then
  return 0
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], 'until', string.format('%.0f', now + ARGV[3]))
return 1
