-- Makes a gateway's mailbox, unless it is fenced.
--
-- KEYS[1]  the gateway (hash)
if redis.call('HEXISTS', KEYS[1], 'fenced') == 0 then
  redis.call('HSET', KEYS[1], 'open', '1')
  redis.call('PERSIST', KEYS[1])
end
return 0
