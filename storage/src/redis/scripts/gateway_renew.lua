-- Renews a gateway's lease. One whose time has run out but that nobody claimed is kept.
--
-- KEYS[1]  the gateway (hash)
-- ARGV[1]  for how long from now, in milliseconds
--
-- Returns 1 when it is kept, 0 when it is lost.
local gateway = redis.call('HMGET', KEYS[1], 'up', 'claimed_by')
if not gateway[1] or gateway[2] then
  return 0
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], 'until', string.format('%.0f', now + ARGV[1]))
return 1
