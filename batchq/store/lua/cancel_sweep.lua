-- cancel_sweep.lua: settle as cancelled what is pending of a cancelled job, some shards a call.
--
-- KEYS[1]   job     HASH    the job's record
-- KEYS[2]   shards  STRING  table of shards
-- KEYS[3]   states  STRING  one byte an item
-- KEYS[4]   flight  HASH    position -> entry of an item in flight
-- KEYS[5..] lane, back of each lane, in the order of their numbers
-- ARGV[1]   schema  of the caller
-- ARGV[2]   most    shards a call
--
-- Returns  {more}   "1" when another call is needed
--- include shards
local job, shards, states, flight = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local schema, most = tonumber(ARGV[1]), tonumber(ARGV[2])
local record = redis.call("HMGET", job, "cancel", "swept", "shards", "v")
if not record[1] or tonumber(record[4]) > schema then return { "0" } end
local k, last = tonumber(record[2] or 0), tonumber(record[3])
local counts, total, seen = {}, 0, 0
local MOST = 10000 -- items a call, about; of those that were given back, which cost more, a tenth
local stop = math.min(last, k + most)
while k < stop and seen < MOST do
  local base, size, lane = shard_entry(shards, k)
  local bytes = redis.call("GETRANGE", states, base, base + size - 1)
  local at = string.find(bytes, "b", 1, true)
  while at do
    local pos = string.format("%.0f", base + at - 1)
    redis.call("HDEL", flight, pos)
    redis.call("ZREM", KEYS[6 + 2 * tonumber(lane)], pos)
    seen = seen + 9
    at = string.find(bytes, "b", at + 1, true)
  end
  local swept, count = string.gsub(bytes, "[.rb]", "X")
  if count > 0 then
    redis.call("SETRANGE", states, base, swept)
    counts[lane] = (counts[lane] or 0) + count
    total = total + count
  end
  k, seen = k + 1, seen + size
end
for lane, count in pairs(counts) do
  redis.call("HINCRBY", KEYS[5 + 2 * tonumber(lane)], "pending", -count)
end
if total > 0 then
  redis.call("HINCRBY", job, "pending", -total)
  redis.call("HINCRBY", job, "n_X", total)
end
local pending = tonumber(redis.call("HGET", job, "pending"))
-- an item given back after its shard was swept: begin again
if k >= last and pending > 0 then k = 0 end
redis.call("HSET", job, "swept", k)
return { (k < last and pending > 0) and "1" or "0" }
