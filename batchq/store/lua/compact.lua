-- compact.lua: replace the outcomes of a complete shard by one compressed blob, made from what the caller read.
--
-- KEYS[1]  job      HASH    the job's record
-- KEYS[2]  states   STRING  one byte an item
-- KEYS[3]  output   HASH    shard -> compressed outcomes
-- KEYS[4]  results  HASH    position -> outcome not yet compacted
-- KEYS[5]  past     HASH    position -> history before a redrive, until its shard is compacted
-- ARGV[1]  schema   of the caller
-- ARGV[2]  k        number of the shard
-- ARGV[3]  version  of the shard when the caller began to read; "0" before any redrive
-- ARGV[4]  base     position of its first item
-- ARGV[5]  n        its items
-- ARGV[6]  blob     the compressed outcomes
--
-- Returns  {"ok"} | {"changed"}   redriven since, or an item is open: nothing is written
--                 | {"gone"} | {"newer"}
local job, states, output, results, past = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local schema, k, version, base, n, blob = tonumber(ARGV[1]), ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
local record = redis.call("HMGET", job, "v", "ver:" .. k)
if not record[1] then return { "gone" } end
if tonumber(record[1]) > schema then return { "newer" } end
if (record[2] or "0") ~= version then return { "changed" } end
if string.find(redis.call("GETRANGE", states, base, base + n - 1), "[^SFDX]") then return { "changed" } end
redis.call("HSET", output, k, blob)
local left = redis.call("PTTL", job) -- the job has ended: its keys expire at one instant
if left > 0 then redis.call("PEXPIRE", output, left) end
local positions = {}
for pos = base, base + n - 1 do
  positions[#positions + 1] = string.format("%.0f", pos)
  if #positions == 1000 or pos == base + n - 1 then
    redis.call("HDEL", results, unpack(positions))
    redis.call("HDEL", past, unpack(positions))
    positions = {}
  end
end
return { "ok" }
