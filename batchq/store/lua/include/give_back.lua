-- Bookkeeping of items that leave the flight of one lane: counted first, written once a call.
local function tally_new() return { back = 0, cancelled = 0, reserve = 0 } end

-- Give an item back as pending, due at a time.
local function give_back(keys, tally, pos, entry, due)
  tally.reserve = tally.reserve + entry.reserve
  redis.call("SETRANGE", keys.states, pos, "b")
  redis.call("ZADD", keys.back, int(due), pos)
  redis.call("HSET", keys.flight, pos, flight_format(flight_void(entry, due)))
  tally.back = tally.back + 1
end

-- Settle an item of a cancelled job as cancelled.
local function drop_cancelled(keys, tally, pos, entry)
  tally.reserve = tally.reserve + entry.reserve
  redis.call("SETRANGE", keys.states, pos, "X")
  redis.call("HDEL", keys.flight, pos)
  tally.cancelled = tally.cancelled + 1
end

local function tally_write(keys, tally)
  local gone = tally.back + tally.cancelled
  if gone == 0 then return end
  redis.call("HINCRBY", keys.lane, "processing", -gone)
  redis.call("HINCRBY", keys.job, "processing", -gone)
  if tally.back > 0 then
    redis.call("HINCRBY", keys.lane, "pending", tally.back)
    redis.call("HINCRBY", keys.job, "pending", tally.back)
  end
  if tally.reserve > 0 then redis.call("HINCRBY", keys.job, "reserved", string.format("%.0f", -tally.reserve)) end
  if tally.cancelled > 0 then redis.call("HINCRBY", keys.job, "n_X", tally.cancelled) end
end
