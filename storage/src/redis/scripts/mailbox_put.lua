-- Puts items into a gateway's mailbox, all or none, unless it is fenced, was never opened, or its gateway is claimed by
-- a reaper. A gateway whose lease has run out but that nobody claimed may come back: its mailbox takes items, and
-- whoever claims it drains them.
--
-- KEYS[1]   the gateway (hash)
-- KEYS[2]   its mailbox (stream)
-- ARGV[1]   how many entries the mailbox may hold
-- ARGV[2..] the items
--
-- Returns 'accepted', 'gone' or 'full'.
local gateway = redis.call('HMGET', KEYS[1], 'open', 'fenced', 'claimed_by')
if not gateway[1] or gateway[2] or gateway[3] then
  return 'gone'
end
if redis.call('XLEN', KEYS[2]) + #ARGV - 1 > tonumber(ARGV[1]) then
  return 'full'
end
for n = 2, #ARGV do
  redis.call('XADD', KEYS[2], '*', 'i', ARGV[n])
end
return 'accepted'
