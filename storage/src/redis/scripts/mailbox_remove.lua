-- Deletes a gateway's mailbox and fences it. Without a mailbox puts are refused as behind a fence, so the fence need
-- not be kept for ever: only for longer than a gateway could take to open it late.
--
-- KEYS[1]  the gateway (hash)
-- KEYS[2]  its mailbox (stream)
-- ARGV[1]  for how long a fence without mailbox and lease is kept, in milliseconds
redis.call('DEL', KEYS[2])
redis.call('HDEL', KEYS[1], 'open', 'confirmed', 'read')
redis.call('HSET', KEYS[1], 'fenced', '1')
if redis.call('HEXISTS', KEYS[1], 'up') == 0 then
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
return 0
