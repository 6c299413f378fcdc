-- Writes, so that a WAIT behind it covers every entry read before.
--
-- KEYS[1]  the gateway (hash)
if redis.call('EXISTS', KEYS[1]) == 1 then
  redis.call('HSET', KEYS[1], 'read', '1')
end
return 0
