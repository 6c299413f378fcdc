-- Whether a gateway's lease lives. Only reads.
--
-- KEYS[1]  the gateway (hash)
--
-- Returns 1 when it lives, 0 when it has run out or is claimed, -1 when the gateway is not known.
local gateway = redis.call('HMGET', KEYS[1], 'up', 'until', 'claimed_by')
if not gateway[1] then
  return -1
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if gateway[3] or tonumber(gateway[2]) <= now then
  return 0
end
return 1
