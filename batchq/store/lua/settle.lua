-- settle.lua: record the outcomes of leased items, once and for good, and count all there is to count.
--
-- KEYS[1]   job      HASH    the job's record
-- KEYS[2]   states   STRING  one byte an item
-- KEYS[3]   flight   HASH    position -> entry of an item in flight
-- KEYS[4]   lane     HASH    counters of the items' lane
-- KEYS[5]   results  HASH    position -> outcome not yet compacted
-- KEYS[6]   slow     ZSET    position by duration, the slowest ten
-- KEYS[7]   shards   STRING  table of shards
-- KEYS[8]   box      LIST    dead letters that are not in their queue yet
-- ARGV[1]   now      test clock, "" for the server's
-- ARGV[2]   owner    incarnation of the holder
-- ARGV[3]   letter_limit  dead letters that wait in the outbox at most; 0: none are fed to the queue
-- ARGV[4..] for each item: position, nonce, byte (S, F or D), outcome, latency bucket ("": no call), duration_ms,
--           input tokens, output tokens, cached tokens, cost in nano-dollars, error kind ("" for S)
--
-- Returns, for each item  {"ok"} | {"settled"}   it had its outcome
--                         | {"stale"}            the lease is not yours; nothing changed
-- and last  {done, refill, shard, …}   done: "1" when nothing is left of the job; refill: "1" when the lane's window
--           has room and the caller is the one to fill it; then the shards that are complete with this call
--- include clock
--- include flight
--- include shards
--- include usage
--- include letters
local job, states, flight, lane, results, slow, shards = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local box = KEYS[8]
local now = clock_ms(ARGV[1])
local owner, letter_limit = ARGV[2], tonumber(ARGV[3])
local FIRST, WIDTH, SLOWEST = 4, 11, 10

local replies, positions = {}, {}
for i = FIRST, #ARGV, WIDTH do positions[#positions + 1] = ARGV[i] end
local known = redis.call("HMGET", flight, unpack(positions))
local counters = { input_tokens = 0, output_tokens = 0, cached_tokens = 0, cost_nano = 0 }
local outcomes, settled, touched, succeeded, longest, letters, most_output = {}, {}, {}, false, 0, {}, 0
local durations, ours = {}, {} -- ours: positions settled by this call, for one may be in it twice
local function count(name, by) counters[name] = (counters[name] or 0) + by end

for n, pos in ipairs(positions) do
  local at = FIRST + (n - 1) * WIDTH
  local entry = not ours[pos] and flight_parse(known[n])
  if not entry then
    local byte = redis.call("GETRANGE", states, pos, pos)
    replies[n] = { byte ~= "" and string.find("SFDX", byte, 1, true) and "settled" or "stale" }
  elseif entry.owner ~= owner or entry.nonce ~= ARGV[at + 1] then
    replies[n] = { "stale" }
  else
    local byte, bucket, duration, kind = ARGV[at + 2], ARGV[at + 4], tonumber(ARGV[at + 5]), ARGV[at + 10]
    redis.call("SETRANGE", states, pos, byte)
    ours[pos] = true
    outcomes[#outcomes + 1] = pos
    outcomes[#outcomes + 1] = ARGV[at + 3]
    settled[#settled + 1] = pos
    touched[entry.shard] = true
    if byte == "S" then succeeded = true else letters[#letters + 1] = entry.shard .. ":" .. pos end
    count("n_" .. byte, 1)
    count("input_tokens", tonumber(ARGV[at + 6]))
    count("output_tokens", tonumber(ARGV[at + 7]))
    count("cached_tokens", tonumber(ARGV[at + 8]))
    count("cost_nano", tonumber(ARGV[at + 9]))
    count("reserved", -entry.reserve)
    most_output = math.max(most_output, tonumber(ARGV[at + 7]))
    if byte ~= "S" then
      count("wasted_tokens", tonumber(ARGV[at + 6]) + tonumber(ARGV[at + 7]))
      count("wasted_nano", tonumber(ARGV[at + 9]))
    end
    if kind ~= "" then count("err:" .. kind, 1) end
    if bucket == "" and entry.begun == "1" then count("requests", -1) end
    if bucket ~= "" then
      count("lat" .. bucket, 1)
      durations[#durations + 1] = duration
      durations[#durations + 1] = pos
      longest = math.max(longest, duration)
    end
    replies[n] = { "ok" }
  end
end

local n = #settled
if n == 0 then
  replies[#replies + 1] = { "0", "0" }
  return replies
end
redis.call("HSET", results, unpack(outcomes))
redis.call("HDEL", flight, unpack(settled))
post_letters(box, letter_limit, letters)
add_counters(job, counters)
local processing = redis.call("HINCRBY", lane, "processing", -n)
local in_flight = redis.call("HINCRBY", job, "processing", -n)
local record = redis.call("HMGET", job, "slow_min", "pending", "fatal_row", "lat_max", "max_nano", "out_max")
if succeeded and record[3] and record[3] ~= "0" then redis.call("HSET", job, "fatal_row", "0") end
if longest > tonumber(record[4] or 0) then redis.call("HSET", job, "lat_max", int(longest)) end
if record[5] and most_output > tonumber(record[6] or 0) then redis.call("HSET", job, "out_max", int(most_output)) end
if #durations > 0 and longest > tonumber(record[1] or -1) then
  redis.call("ZADD", slow, unpack(durations))
  redis.call("ZREMRANGEBYRANK", slow, 0, -(SLOWEST + 1))
  if redis.call("ZCARD", slow) >= SLOWEST then
    redis.call("HSET", job, "slow_min", redis.call("ZRANGE", slow, 0, 0, "WITHSCORES")[2])
  end
end

local flags = { tonumber(record[2]) + in_flight == 0 and "1" or "0", "0" }
-- Refill on crossing the low-water mark, and again each second below it: one lost signal must not idle the window.
local state = redis.call("HMGET", lane, "window", "pending", "refilled")
local mark = math.floor(tonumber(state[1] or 0) / 2)
if tonumber(state[2] or 0) > 0 and processing <= mark then
  if processing + n > mark or now - tonumber(state[3] or 0) > 1000 then
    redis.call("HSET", lane, "refilled", int(now))
    flags[2] = "1"
  end
end
for k in pairs(touched) do
  local base, size = shard_entry(shards, tonumber(k))
  if not string.find(redis.call("GETRANGE", states, base, base + size - 1), "[^SFDX]") then flags[#flags + 1] = k end
end
replies[#replies + 1] = flags
return replies
