-- Adds to an index of a gateway, if the gateway's lease lives.
--
-- KEYS[1]  the gateway (hash)
-- KEYS[2]  the index (set): of its sessions, or of what it follows
-- ARGV[1]  what to add: a session's connection's number and user, or a chat
--
-- Returns 1 when it is there, 0 when the gateway has no lease.
local gateway = redis.call('HMGET', KEYS[1], 'up', 'until', 'claimed_by')
if not gateway[1] or gateway[3] then
  return 0
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if tonumber(gateway[2]) <= now then
  return 0
end
redis.call('SADD', KEYS[2], ARGV[1])
return 1
