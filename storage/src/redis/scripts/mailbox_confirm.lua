-- Moves a mailbox's confirmed position and trims what is at or below it.
--
-- KEYS[1]  the gateway (hash: confirmed is a stream id)
-- KEYS[2]  its mailbox (stream)
-- ARGV[1]  the id to confirm, its first number
-- ARGV[2]  the id to confirm, its second number
--
-- Never moves back, nor past the newest entry: a caller's id may come from a primary that is no more.
local newest = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
if not newest or redis.call('HEXISTS', KEYS[1], 'open') == 0 then
  return 0
end

local function split(id)
  local first, second = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(first), tonumber(second)
end

local first, second = tonumber(ARGV[1]), tonumber(ARGV[2])
local newest_first, newest_second = split(newest[1])
if first > newest_first or (first == newest_first and second > newest_second) then
  first, second = newest_first, newest_second
end
local confirmed_first, confirmed_second = split(redis.call('HGET', KEYS[1], 'confirmed') or '0-0')
if first > confirmed_first or (first == confirmed_first and second > confirmed_second) then
  redis.call('HSET', KEYS[1], 'confirmed', string.format('%.0f-%.0f', first, second))
  redis.call('XTRIM', KEYS[2], 'MINID', string.format('%.0f-%.0f', first, second + 1))
end
return 0
