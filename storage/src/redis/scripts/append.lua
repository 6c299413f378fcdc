-- Appends events to one partition, each at most once within the dedupe window: look the key up, take the chat's next
-- sequence, write the entry, remember the key, in one step.
--
-- KEYS[1]          the partition's log (stream)
-- KEYS[2n]         the clock of event n's chat (string: its last sequence)
-- KEYS[2n + 1]     what the names of event n's dedupe hashes begin with; any key of the slot when it has no dedupe key
-- ARGV[1]          how many entries the log may hold
-- ARGV[2]          the dedupe window, in milliseconds
-- ARGV[3]          for how long a chat's clock is kept, in milliseconds
-- ARGV[3n + 1]     event n's chat
-- ARGV[3n + 2]     event n's body
-- ARGV[3n + 3]     event n's dedupe key, empty for none
--
-- Returns one text per event: '+' and its sequence, '=' and the first attempt's sequence, or 'full'.
-- The answer '=' has written, too: a WAIT behind a script that wrote nothing would wait for nothing.
local log = KEYS[1]
local window = tonumber(ARGV[2])
local clock_kept = ARGV[3]
local room = tonumber(ARGV[1]) - redis.call('XLEN', log)
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local now_ms = math.floor(now / 1000)
local bucket = math.floor(now_ms / window)

-- Sequences are below 2^53, so exact; tostring would write 1.7e+15.
local function integer(number)
  return string.format('%.0f', number)
end

-- A key accepted in bucket b is remembered in b's hash until the end of b + 1: for one to two windows.
local function expiry(b)
  return integer((b + 2) * window)
end

local buckets = { bucket, bucket - 1 }
-- A new primary's clock may be behind: near the end of a bucket the old one may have begun the next.
if (bucket + 1) * window - now_ms < 600000 then
  buckets[3] = bucket + 1
end

local function first_attempt(shard, key)
  for _, b in ipairs(buckets) do
    local name = shard .. integer(b)
    local sequence = redis.call('HGET', name, key)
    if sequence then
      redis.call('PEXPIREAT', name, expiry(b))
      return sequence
    end
  end
end

local answers = {}
for n = 1, (#KEYS - 1) / 2 do
  local clock, shard = KEYS[2 * n], KEYS[2 * n + 1]
  local chat, body, key = ARGV[3 * n + 1], ARGV[3 * n + 2], ARGV[3 * n + 3]
  local first = key ~= '' and first_attempt(shard, key)
  if first then
    answers[n] = '=' .. first
  elseif room <= 0 then
    answers[n] = 'full'
  else
    local last = redis.call('GET', clock)
    local sequence = now
    if last and tonumber(last) >= now then
      sequence = tonumber(last) + 1
    end
    local text = integer(sequence)
    redis.call('XADD', log, '*', 'c', chat, 's', text, 'p', last or '', 'b', body)
    redis.call('SET', clock, text, 'PX', clock_kept)
    if key ~= '' then
      local name = shard .. integer(bucket)
      redis.call('HSET', name, key, text)
      redis.call('PEXPIREAT', name, expiry(bucket))
    end
    room = room - 1
    answers[n] = '+' .. text
  end
end
return answers
