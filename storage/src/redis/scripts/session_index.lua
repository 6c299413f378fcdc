-- Adds a session to its gateway's index, if the gateway's lease lives.
--
-- KEYS[1]  the gateway (hash)
-- KEYS[2]  the index of its sessions (set)
-- ARGV[1]  the session: its connection's number and its user
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
