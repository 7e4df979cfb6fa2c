-- recount.lua: count a job's items by their states, beside what its counters say.
--
-- KEYS[1]   job     HASH    the job's record
-- KEYS[2]   shards  STRING  table of shards
-- KEYS[3]   states  STRING  one byte an item
-- KEYS[4..] lane of each lane, in the order of their numbers
-- ARGV[1]   schema  of the caller
-- ARGV[2]   mend    "1": write the counters anew where they are wrong
--
-- Returns  {"ok"} and after it, for each counter that is wrong, its name, what it says and what it should say
--          {"gone"} | {"newer"}
--- include shards
local job, shards, states, schema, mend = KEYS[1], KEYS[2], KEYS[3], tonumber(ARGV[1]), ARGV[2] == "1"
local record = redis.call("HMGET", job, "v", "state", "shards")
if not record[1] or record[2] == "receiving" then return { "gone" } end
if tonumber(record[1]) > schema then return { "newer" } end
local COUNTED = { ["."] = "pending", r = "pending", b = "pending", d = "processing", l = "processing",
  w = "processing", S = "n_S", F = "n_F", D = "n_D", X = "n_X" }
local whole, by_lane = { pending = 0, processing = 0, n_S = 0, n_F = 0, n_D = 0, n_X = 0, total = 0 }, {}
for number = 1, #KEYS - 3 do by_lane[tostring(number - 1)] = { pending = 0, processing = 0 } end
for k = 0, tonumber(record[3]) - 1 do
  local base, size, lane_no = shard_entry(shards, k)
  if not base then break end
  local bytes = redis.call("GETRANGE", states, base, base + size - 1)
  whole.total = whole.total + #bytes
  for byte, name in pairs(COUNTED) do
    local _, n = string.gsub(bytes, byte == "." and "%." or byte, "")
    whole[name] = whole[name] + n
    local lane = by_lane[lane_no]
    if lane and lane[name] then lane[name] = lane[name] + n end
  end
end
local replies = { "ok" }
local function compare(key, prefix, counts)
  for name, right in pairs(counts) do
    local said = tonumber(redis.call("HGET", key, name) or 0)
    if said ~= right then
      replies[#replies + 1] = prefix .. name
      replies[#replies + 1] = tostring(said)
      replies[#replies + 1] = tostring(right)
      if mend then redis.call("HSET", key, name, right) end
    end
  end
end
compare(job, "", whole)
for number = 4, #KEYS do
  local lane_no = tostring(number - 4)
  compare(KEYS[number], "lane " .. lane_no .. " ", by_lane[lane_no])
end
return replies
