-- put_shard.lua: store one shard of a job that is being received. The same shard again overwrites itself.
--
-- KEYS[1]   job     HASH    the job's record
-- KEYS[2]   shards  STRING  table of shards
-- KEYS[3]   states  STRING  one byte an item
-- KEYS[4]   input   HASH    shard -> compressed items
-- KEYS[5]   lane    HASH    counters and cursor of the shard's lane
-- KEYS[6]   results HASH    position -> outcome not yet compacted
-- ARGV[1]   now     test clock, "" for the server's
-- ARGV[2]   sub     nonce of this submission
-- ARGV[3]   k       number of the shard, from 0
-- ARGV[4]   base    position of its first item
-- ARGV[5]   lane_no
-- ARGV[6]   blob    the compressed items
-- ARGV[7]   bytes   a state byte an item: "." or "F"
-- ARGV[8..] position, outcome, error kind of each item that is "F"
--
-- Returns  {"ok"} | {"not_yours"}
--- include clock
local job, shards, states, input, lane, results = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local sub, k, base, lane_no, blob, bytes = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5], ARGV[6], ARGV[7]
local known = redis.call("HMGET", job, "state", "sub", "shards")
if known[1] ~= "receiving" or known[2] ~= sub then return { "not_yours" } end
local again = k < tonumber(known[3])
redis.call("SETRANGE", shards, k * 20, string.format("%012d%05d%03d", base, #bytes, tonumber(lane_no)))
redis.call("SETRANGE", states, base, bytes)
redis.call("HSET", input, k, blob)
for i = 8, #ARGV, 3 do
  redis.call("HSET", results, ARGV[i], ARGV[i + 1])
  if not again then redis.call("HINCRBY", job, "err:" .. ARGV[i + 2], 1) end
end
if not again then
  local _, bad = string.gsub(bytes, "F", "")
  redis.call("HINCRBY", job, "pending", #bytes - bad)
  redis.call("HINCRBY", lane, "pending", #bytes - bad)
  redis.call("HINCRBY", job, "total", #bytes)
  if bad > 0 then redis.call("HINCRBY", job, "n_F", bad) end
  redis.call("HSET", job, "shards", k + 1)
end
redis.call("HSET", job, "sub_beat", int(clock_ms(ARGV[1])))
return { "ok" }
