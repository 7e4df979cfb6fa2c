-- take.lua: take the next items of a lane for a wave. What came back and is due goes first, then what was
-- redriven, then fresh items in input order.
--
-- KEYS[1]  job     HASH    the job's record
-- KEYS[2]  shards  STRING  table of shards
-- KEYS[3]  states  STRING  one byte an item
-- KEYS[4]  flight  HASH    position -> entry of an item in flight
-- KEYS[5]  lane    HASH    counters and cursor of the lane
-- KEYS[6]  back    ZSET    position by due time
-- ARGV[1]  now     test clock, "" for the server's
-- ARGV[2]  schema  of the caller
-- ARGV[3]  dark    ms of outage so far, from the last heartbeat
-- ARGV[4]  lane_no
-- ARGV[5]  most    items at most; never more than 1,000 a call
-- ARGV[6]  window  the lane's items in flight at most
--
-- Returns  {ticket, position, …}; an empty list when there is nothing to take, or the job's time has not come
--- include clock
--- include flight
--- include shards
local job, shards, states, flight, lane, back = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local now = clock_ms(ARGV[1])
local schema, dark, lane_no, most, window = tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
local SCAN = 65536 -- bytes of `states` looked at for redriven items in one call
local REDRIVEN = "[[" .. int(now) .. ',0,0,"REDRIVEN","sent back by a redrive"]]' -- the history it begins with
local MOST = 1000 -- items a call, whatever is asked: nobody else is served meanwhile

local record = redis.call("HMGET", job, "v", "state", "holds", "cancel", "not_before")
if not record[1] or tonumber(record[1]) > schema then return {} end
if (record[2] ~= "pending" and record[2] ~= "processing") or (record[3] or "") ~= "" or record[4] then return {} end
if now < tonumber(record[5] or 0) then return {} end
local counts = redis.call("HMGET", lane, "processing", "pending", "cur_shard", "cur_off", "redriven", "rcur")
redis.call("HSET", lane, "window", ARGV[6])
local room = math.min(most, MOST, window - tonumber(counts[1] or 0), tonumber(counts[2] or 0))
if room <= 0 then return {} end

local ticket = int(redis.call("HINCRBY", job, "ticket", 1))
local reply, entries, taken = { ticket }, {}, 0
local function dispatch(pos, entry)
  entry.ticket, entry.since, entry.dark, entry.due = ticket, now, dark, 0
  entries[#entries + 1] = pos
  entries[#entries + 1] = flight_format(entry)
  reply[#reply + 1] = pos
  taken = taken + 1
end

-- 1. given back and due
local due = redis.call("ZRANGEBYSCORE", back, "-inf", int(now), "LIMIT", 0, room)
if #due > 0 then
  redis.call("ZREM", back, unpack(due))
  local known = redis.call("HMGET", flight, unpack(due))
  for i, pos in ipairs(due) do
    local entry = flight_parse(known[i])
    if entry then
      redis.call("SETRANGE", states, pos, "d")
      dispatch(pos, entry)
    end
  end
end

-- one run over the items of shard k from an offset on: takes those in state `byte`
local function take_from(base, n, offset, byte, k)
  local bytes = redis.call("GETRANGE", states, base + offset, base + n - 1)
  local changed, at = {}, 1
  while at <= #bytes and taken < room do
    local found = string.find(bytes, byte, at, true)
    if not found then at = #bytes + 1 break end
    changed[#changed + 1] = found
    local entry = flight_new(lane_no, int(k))
    if byte == "r" then entry.history = REDRIVEN end
    dispatch(int(base + offset + found - 1), entry)
    at = found + 1
  end
  if #changed > 0 then
    local parts, last = {}, 1
    for _, found in ipairs(changed) do
      parts[#parts + 1] = string.sub(bytes, last, found - 1) .. "d"
      last = found + 1
    end
    redis.call("SETRANGE", states, base + offset, table.concat(parts) .. string.sub(bytes, last))
  end
  if at > #bytes then return n end
  return offset + at - 1
end

-- 2. redriven
local redriven = tonumber(counts[5] or 0)
if redriven > 0 and taken < room then
  local k, scanned, before = tonumber(counts[6] or 0), 0, taken
  while taken < room and scanned < SCAN do
    local base, n, of = shard_entry(shards, k)
    if not base then break end
    if of == lane_no then
      scanned = scanned + n
      if take_from(base, n, 0, "r", k) < n then break end
    end
    k = k + 1
  end
  redriven = redriven - (taken - before)
  redis.call("HSET", lane, "rcur", int(k), "redriven", int(redriven))
end

-- 3. fresh, unless too many came back
if taken < room and redis.call("ZCARD", back) < 4 * window + 1000 then
  local k, offset = tonumber(counts[3] or 0), tonumber(counts[4] or 0)
  while taken < room do
    local base, n, of = shard_entry(shards, k)
    if not base then break end
    if of == lane_no then offset = take_from(base, n, offset, ".", k) else offset = n end
    if offset >= n then k, offset = k + 1, 0 end
  end
  redis.call("HSET", lane, "cur_shard", int(k), "cur_off", int(offset))
end

if taken == 0 then return {} end
redis.call("HSET", flight, unpack(entries))
redis.call("HINCRBY", lane, "processing", taken)
redis.call("HINCRBY", lane, "pending", -taken)
redis.call("HINCRBY", job, "processing", taken)
redis.call("HINCRBY", job, "pending", -taken)
if record[2] == "pending" then redis.call("HSET", job, "state", "processing", "started", int(now)) end
return reply
