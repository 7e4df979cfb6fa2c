-- heal.lua: bring back what a dead worker, a lost message or a lost retry left behind, one slice a call.
--
-- KEYS[1]   job      HASH    the job's record
-- KEYS[2]   states   STRING  one byte an item
-- KEYS[3]   flight   HASH    position -> entry of an item in flight
-- KEYS[4]   results  HASH    position -> outcome not yet compacted
-- KEYS[5]   box      LIST    dead letters that are not in their queue yet
-- KEYS[6..] lane, back of each lane, in the order of their numbers
-- ARGV[1]   now      test clock, "" for the server's
-- ARGV[2]   schema   of the caller
-- ARGV[3]   cursor   "0" at first, then what the last call returned
-- ARGV[4]   dark     ms of outage so far: it ages nothing
-- ARGV[5]   grace_until  ms; before it no lease is taken from an owner for its silence
-- ARGV[6]   lease_ms  a silent owner loses leases older than this
-- ARGV[7]   lease_max_ms  nobody keeps a lease longer than this
-- ARGV[8]   undelivered_ms  a message not claimed for so long is lost; doubled for each time the item was lost;
--           -1: nobody is there to take any
-- ARGV[9]   max_crashes  deaths under an item that make it poison
-- ARGV[10]  poison   outcome of a poisoned item, with %d for its attempts and %s for its history
-- ARGV[11]  letter_limit  dead letters that wait in the outbox at most; 0: none are fed to the queue
-- ARGV[12..] incarnations that are alive
--
-- Returns  {next cursor, back, poisoned, cancelled, lost calls, shard, …}   shards that may be complete now
--- include clock
--- include flight
--- include give_back
--- include letters
local job, states, flight, results, box = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local now = clock_ms(ARGV[1])
local schema, cursor, dark, grace_until = tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local lease_ms, lease_max_ms, undelivered_ms, max_crashes = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local poison, letter_limit = ARGV[10], tonumber(ARGV[11])
local RETRY_LATE_MS, CRASH_MEMORY_MS, SLICE = 15000, 86400000, 500

local record = redis.call("HMGET", job, "v", "cancel", "state")
if not record[1] or tonumber(record[1]) > schema or record[3] == "receiving" then return { "0", 0, 0, 0, 0 } end
local alive = {}
for i = 12, #ARGV do alive[ARGV[i]] = true end
local tallies, poisoned, lost_calls, lost_nano, doubtful, letters = {}, 0, 0, 0, {}, {}

local function keys_of(entry)
  local at = 6 + 2 * tonumber(entry.lane)
  return { job = job, states = states, flight = flight, lane = KEYS[at], back = KEYS[at + 1] }
end
local function tally_of(entry)
  tallies[entry.lane] = tallies[entry.lane] or { keys = keys_of(entry), counts = tally_new() }
  return tallies[entry.lane]
end

local function set_aside(pos, entry)
  local tally = tally_of(entry)
  redis.call("SETRANGE", states, pos, "D")
  redis.call("HDEL", flight, pos)
  -- gsub, not format: histories may be longer than what string.format takes
  local outcome = string.gsub(string.gsub(poison, "%%d", int(entry.attempts)), "%%s", function() return entry.history end)
  redis.call("HSET", results, pos, outcome)
  redis.call("HINCRBY", tally.keys.lane, "processing", -1)
  redis.call("HINCRBY", job, "processing", -1)
  redis.call("HINCRBY", job, "n_D", 1)
  redis.call("HINCRBY", job, "err:POISON", 1)
  poisoned = poisoned + 1
  letters[#letters + 1] = entry.shard .. ":" .. pos
  doubtful[entry.shard] = true
end

local function bring_back(pos, entry, due)
  local tally = tally_of(entry)
  if record[2] then
    drop_cancelled(tally.keys, tally.counts, pos, entry)
  else
    give_back(tally.keys, tally.counts, pos, entry, due)
  end
end

local function abandoned(pos, entry)
  if entry.begun == "1" then
    lost_calls = lost_calls + 1
    lost_nano, entry.reserve = lost_nano + entry.reserve, 0 -- perhaps it was paid: nobody saw its answer
    if now - entry.crashed > CRASH_MEMORY_MS then entry.crashes = 0 end
    entry.crashes, entry.crashed = entry.crashes + 1, now
    if entry.crashes >= max_crashes then return set_aside(pos, entry) end
  end
  return bring_back(pos, entry, now)
end

local scan = redis.call("HSCAN", flight, cursor, "COUNT", SLICE)
for i = 1, #scan[2], 2 do
  local pos, entry = scan[2][i], flight_parse(scan[2][i + 1])
  local age = now - entry.since - (dark - entry.dark)
  if entry.owner ~= "" then
    local silent = not alive[entry.owner] and age > lease_ms and now >= grace_until
    if silent or age > lease_max_ms then abandoned(pos, entry) end
  elseif entry.ticket ~= "0" and entry.due > 0 then
    if undelivered_ms < 0 or now - (dark - entry.dark) > entry.due + RETRY_LATE_MS then
      bring_back(pos, entry, math.max(now, entry.due))
    end
  elseif entry.ticket ~= "0" and undelivered_ms < 0 then
    bring_back(pos, entry, now)
  elseif entry.ticket ~= "0" and age > undelivered_ms * 2 ^ math.min(entry.undelivered, 12) then
    entry.undelivered = entry.undelivered + 1
    bring_back(pos, entry, now)
  end
end

post_letters(box, letter_limit, letters)
local back, cancelled = 0, 0
for _, tally in pairs(tallies) do
  back, cancelled = back + tally.counts.back, cancelled + tally.counts.cancelled
  tally_write(tally.keys, tally.counts)
end
if lost_calls > 0 then redis.call("HINCRBY", job, "repeated", lost_calls) end
if lost_nano > 0 then
  redis.call("HINCRBY", job, "lost_nano", int(lost_nano))
  redis.call("HINCRBY", job, "reserved", int(-lost_nano))
end
local reply = { scan[1], back, poisoned, cancelled, lost_calls }
for k in pairs(doubtful) do reply[#reply + 1] = k end
return reply
