-- Moves a partition's cursor and trims what is at or below it, under the lease.
--
-- KEYS[1]  the partition's lease (hash)
-- KEYS[2]  the partition's cursor (string: a stream id)
-- KEYS[3]  the partition's log (stream)
-- ARGV[1]  the worker that believes to hold the lease
-- ARGV[2]  the epoch it was given
-- ARGV[3]  the id to commit, its first number
-- ARGV[4]  the id to commit, its second number
--
-- Returns 1 when done, 0 when the lease is lost. Never moves a cursor back, nor past the newest entry: a caller's id
-- may come from a primary that is no more, and entries to come would be below it.
local lease = redis.call('HMGET', KEYS[1], 'worker', 'epoch')
if lease[1] ~= ARGV[1] or lease[2] ~= ARGV[2] then
  return 0
end

local function split(id)
  local first, second = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(first), tonumber(second)
end

local first, second = tonumber(ARGV[3]), tonumber(ARGV[4])
local cursor = redis.call('GET', KEYS[2]) or '0-0'
local newest = redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)[1]
if newest then
  local newest_first, newest_second = split(newest[1])
  if first > newest_first or (first == newest_first and second > newest_second) then
    first, second = newest_first, newest_second
  end
  local cursor_first, cursor_second = split(cursor)
  if first > cursor_first or (first == cursor_first and second > cursor_second) then
    cursor = string.format('%.0f-%.0f', first, second)
    redis.call('XTRIM', KEYS[3], 'MINID', string.format('%.0f-%.0f', first, second + 1))
  end
end
-- Also when it did not move: an earlier commit may not have become durable.
redis.call('SET', KEYS[2], cursor)
return 1
