-- redrive.lua: send dead letters back as pending items; a finished job opens again.
--
-- KEYS[1]   job      HASH    the job's record
-- KEYS[2]   states   STRING  one byte an item
-- KEYS[3]   results  HASH    position -> outcome not yet compacted
-- KEYS[4]   log      LIST    the job's history
-- KEYS[5]   lane     HASH    counters of the items' lane
-- KEYS[6]   past     HASH    position -> history before a redrive, until its shard is compacted
-- KEYS[7..] rest             every other key of the job: none may expire now
-- ARGV[1]   now      test clock, "" for the server's
-- ARGV[2]   schema   of the caller
-- ARGV[3]   first    "1" on the first call of one redrive: the generation rises, and at each that reopens a job
-- ARGV[4]   change   a line of history (JSON without its time), "" for none
-- ARGV[5..] position, shard, error kind, history of each ("": it is in the shard's blob, or there is none)
--
-- Returns  {"ok", items} | {"gone"} | {"ended", "cancelled"} | {"newer"}
--- include clock
local job, states, results, log, lane, past = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local now, schema, first, change = clock_ms(ARGV[1]), tonumber(ARGV[2]), ARGV[3] == "1", ARGV[4]
local FIRST, WIDTH = 5, 4

local record = redis.call("HMGET", job, "v", "state", "cancel", "fin")
if not record[1] or record[2] == "receiving" then return { "gone" } end
if tonumber(record[1]) > schema then return { "newer" } end
if record[3] == "cancel" or record[2] == "cancelled" then return { "ended", "cancelled" } end
local counts, kinds, n, lowest, versions = { F = 0, D = 0 }, {}, 0, nil, {}
for at = FIRST, #ARGV, WIDTH do
  local pos, k, kind, history = ARGV[at], tonumber(ARGV[at + 1]), ARGV[at + 2], ARGV[at + 3]
  local byte = redis.call("GETRANGE", states, pos, pos)
  if byte == "F" or byte == "D" then
    redis.call("SETRANGE", states, pos, "r")
    redis.call("HDEL", results, pos)
    if history ~= "" then redis.call("HSET", past, pos, history) end
    counts[byte] = counts[byte] + 1
    kinds[kind] = (kinds[kind] or 0) + 1
    versions[k] = true
    lowest = math.min(lowest or k, k)
    n = n + 1
  end
end
if n == 0 then return { "ok", 0 } end
for k in pairs(versions) do redis.call("HINCRBY", job, "ver:" .. k, 1) end
if counts.F > 0 then redis.call("HINCRBY", job, "n_F", -counts.F) end
if counts.D > 0 then redis.call("HINCRBY", job, "n_D", -counts.D) end
for kind, count in pairs(kinds) do
  if redis.call("HINCRBY", job, "err:" .. kind, -count) <= 0 then redis.call("HDEL", job, "err:" .. kind) end
end
redis.call("HINCRBY", job, "pending", n)
redis.call("HINCRBY", lane, "pending", n)
redis.call("HINCRBY", lane, "redriven", n)
local cursor = tonumber(redis.call("HGET", lane, "rcur") or lowest)
redis.call("HSET", lane, "rcur", string.format("%.0f", math.min(cursor, lowest)))
-- a later slice as well, when the job ended, or a finisher began, since the one before
if first or record[4] then redis.call("HINCRBY", job, "gen", 1) end
redis.call("HSET", job, "state", "processing", "fatal_row", "0")
redis.call("HDEL", job, "finished", "fin", "error", "cancel", "deadline", "out_state", "out_written", "out_tries", "out_due", "out_error")
for _, key in ipairs(KEYS) do redis.call("PERSIST", key) end
if change ~= "" then
  redis.call("RPUSH", log, '{"time":' .. string.format("%.3f", now / 1000) .. "," .. change .. "}")
end
return { "ok", n }
