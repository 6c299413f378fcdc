-- Fences a gateway's mailbox: no put is accepted after this.
--
-- KEYS[1]  the gateway (hash)
-- ARGV[1]  for how long a fence without mailbox and lease is kept, in milliseconds
redis.call('HSET', KEYS[1], 'fenced', '1')
local kept = redis.call('HMGET', KEYS[1], 'open', 'up')
if not kept[1] and not kept[2] then
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
return 0
