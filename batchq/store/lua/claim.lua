-- claim.lua: lease dispatched items to the process that asks, each with the ticket of its message.
--
-- KEYS[1]   job     HASH    the job's record
-- KEYS[2]   states  STRING  one byte an item
-- KEYS[3]   flight  HASH    position -> entry of an item in flight
-- KEYS[4]   lane    HASH    counters of the items' lane
-- KEYS[5]   back    ZSET    position by due time
-- ARGV[1]   now     test clock, "" for the server's
-- ARGV[2]   schema  of the caller
-- ARGV[3]   dark    ms of outage so far, from the last heartbeat
-- ARGV[4]   owner   incarnation of the claimer
-- ARGV[5]   birth   of the job that the claimer knows under this id, "" for whichever
-- ARGV[6..] position, ticket, nonce, begun ("1": the call starts at once, without waiting for a permit)
--
-- Returns, for each item
--   {"ok", shard, attempts, crashes, limited, waited_ms, history}   leased; asking again with the same nonce too
--   {"busy"}        leased by somebody else
--   {"settled"}     it has its outcome
--   {"cancelled"}   its job was cancelled; the item is settled as cancelled
--   {"paused"}      its job is held; the item went back
--   {"superseded"}  it went back, or out again, since the message was sent
--   {"gone"}        no such job or item
--   {"newer"}       the job was written by a newer batchq
--   {"other"}       the job of this id is not the one that the claimer knows
--- include clock
--- include flight
--- include give_back
local job, states, flight, lane, back = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local keys = { job = job, states = states, flight = flight, lane = lane, back = back }
local now = clock_ms(ARGV[1])
local schema, dark, owner, birth = tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], ARGV[5]
local FIRST, WIDTH = 6, 4

local replies = {}
local record = redis.call("HMGET", job, "v", "holds", "cancel", "sub")
local other = birth ~= "" and record[4] ~= birth
if not record[1] or tonumber(record[1]) > schema or other then
  local answer = not record[1] and "gone" or tonumber(record[1]) > schema and "newer" or "other"
  for _ = FIRST, #ARGV, WIDTH do replies[#replies + 1] = { answer } end
  return replies
end
local held, cancelled = (record[2] or "") ~= "", record[3]
local positions = {}
for i = FIRST, #ARGV, WIDTH do positions[#positions + 1] = ARGV[i] end
local known = redis.call("HMGET", flight, unpack(positions))
local tally, writes, requests = tally_new(), {}, 0
local entries = {} -- by position: a message doubled within one call must see what its twin did

local function without_entry(pos)
  local byte = redis.call("GETRANGE", states, pos, pos)
  if byte == "" then return { "gone" } end
  return { string.find("SFDX", byte, 1, true) and "settled" or "superseded" }
end

for n, pos in ipairs(positions) do
  local at = FIRST + (n - 1) * WIDTH
  local ticket, nonce, begun = ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  if entries[pos] == nil then entries[pos] = flight_parse(known[n]) or false end
  local entry = entries[pos]
  local function granted()
    return { "ok", entry.shard, int(entry.attempts), int(entry.crashes), int(entry.limited), int(entry.waited), entry.history }
  end
  if not entry then
    replies[n] = without_entry(pos)
  elseif entry.owner ~= "" then
    if entry.owner == owner and entry.nonce == nonce then
      replies[n] = granted()
    elseif entry.ticket == ticket then
      replies[n] = { "busy" }
    else
      replies[n] = { "superseded" }
    end
  elseif entry.ticket ~= ticket or ticket == "0" then
    replies[n] = { "superseded" }
  elseif cancelled then
    drop_cancelled(keys, tally, pos, entry)
    entries[pos] = false
    replies[n] = { "cancelled" }
  elseif held then
    give_back(keys, tally, pos, entry, math.max(now, entry.due))
    replies[n] = { "paused" }
  else
    entry.owner, entry.nonce, entry.since, entry.dark, entry.begun, entry.due = owner, nonce, now, dark, begun, 0
    if begun == "1" then
      entry.attempts = entry.attempts + 1
      requests = requests + 1
    end
    redis.call("SETRANGE", states, pos, "l")
    writes[#writes + 1] = pos
    writes[#writes + 1] = flight_format(entry)
    replies[n] = granted()
  end
end
if #writes > 0 then redis.call("HSET", flight, unpack(writes)) end
if requests > 0 then redis.call("HINCRBY", job, "requests", requests) end
tally_write(keys, tally)
return replies
