-- Claims a dead gateway for reaping, or renews a claim.
--
-- KEYS[1]  the gateway (hash)
-- ARGV[1]  the worker that claims
-- ARGV[2]  for how long, in milliseconds
--
-- Returns 1 when it is claimed, 0 when it lives, is claimed by another worker, or is not known.
local gateway = redis.call('HMGET', KEYS[1], 'up', 'until', 'claimed_by', 'claimed_until')
if not gateway[1] then
  return 0
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local claimed_by = gateway[3]
if not claimed_by and tonumber(gateway[2]) > now then
  return 0
end
if claimed_by and claimed_by ~= ARGV[1] and tonumber(gateway[4]) > now then
  return 0
end
redis.call('HSET', KEYS[1], 'claimed_by', ARGV[1], 'claimed_until', string.format('%.0f', now + ARGV[2]))
return 1
