-- Gives a partition's lease up, if it is still held. The epoch stays.
--
-- KEYS[1]  the partition's lease (hash)
-- ARGV[1]  the worker that believes to hold it
-- ARGV[2]  the epoch it was given
local lease = redis.call('HMGET', KEYS[1], 'worker', 'epoch')
if lease[1] == ARGV[1] and lease[2] == ARGV[2] then
  redis.call('HDEL', KEYS[1], 'worker', 'until')
end
return 0
