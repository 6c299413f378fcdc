-- Forgets a gateway's lease, its claim and its indexes.
--
-- KEYS[1]  the gateway (hash)
-- KEYS[2]  the index of its sessions (set)
-- KEYS[3]  the index of what it follows (set)
-- ARGV[1]  for how long a fence without mailbox and lease is kept, in milliseconds
redis.call('DEL', KEYS[2], KEYS[3])
redis.call('HDEL', KEYS[1], 'up', 'until', 'claimed_by', 'claimed_until')
if redis.call('HEXISTS', KEYS[1], 'open') == 0 then
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
return 0
