-- Asks for a partition's lease.
--
-- KEYS[1]  the partition's lease (hash: worker, until, epoch); the epoch outlives every holder
-- KEYS[2]  the partition's cursor (string: a stream id)
-- ARGV[1]  the worker that asks
-- ARGV[2]  for how long, in milliseconds
--
-- Returns the epoch and the cursor; nothing when another worker holds it.
local lease = redis.call('HMGET', KEYS[1], 'worker', 'until', 'epoch')
local holder, expires, epoch = lease[1], lease[2], lease[3]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if holder ~= ARGV[1] then
  if holder and tonumber(expires) > now then
    return false
  end
  epoch = redis.call('HINCRBY', KEYS[1], 'epoch', 1)
end
redis.call('HSET', KEYS[1], 'worker', ARGV[1], 'until', string.format('%.0f', now + ARGV[2]))
return { tostring(epoch), redis.call('GET', KEYS[2]) or '0-0' }
