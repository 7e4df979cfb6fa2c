-- release.lua: give up the lease on items without settling them: a retry by message, or back to the store.
--
-- KEYS[1]   job     HASH    the job's record
-- KEYS[2]   states  STRING  one byte an item
-- KEYS[3]   flight  HASH    position -> entry of an item in flight
-- KEYS[4]   lane    HASH    counters of the items' lane
-- KEYS[5]   back    ZSET    position by due time
-- KEYS[6]   log     LIST    the job's history
-- KEYS[7]   events  HASH    what its webhook is still to hear of
-- ARGV[1]   now     test clock, "" for the server's
-- ARGV[2]   dark    ms of outage so far, from the last heartbeat
-- ARGV[3]   owner   incarnation of the holder
-- ARGV[4]   fatal_limit  fatal errors in a row that hold the job
-- ARGV[5]   why     what the hold says, when it comes to one
-- ARGV[6]   change  a line of history (JSON without its time) for that
-- ARGV[7..] for each item: position, nonce, delay_ms, kind, by_message ("1"), waited_ms, error (JSON or ""),
--           input tokens, output tokens, cached tokens, cost in nano-dollars
--   kind: "retry"    an attempt was used up
--         "limited"  refused for rate: no attempt
--         "away"     the provider answers nobody: no attempt
--         "fatal"    the job cannot be served: no attempt
--         "cut"      its worker was going and waited no longer for the call: no attempt
--         "lost"     the server forgot what became of it: an attempt, and a call that is made again
--         "unused"   no call was made: no attempt, and no request
--
-- Returns, for each item
--   {"retry", ticket}  waiting for a Celery retry with this ticket; one for all of a call, for they go as one message
--   {"back"}           pending again
--   {"cancelled"}      its job was cancelled; the item is settled as cancelled
--   {"stale"}          the lease is not yours; nothing changed
-- and last  {"held"} or {"running"}   of the job, after this call
--- include clock
--- include events
--- include pauses
--- include flight
--- include give_back
--- include usage
local job, states, flight, lane, back = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local keys = { job = job, states = states, flight = flight, lane = lane, back = back }
local now = clock_ms(ARGV[1])
local dark, owner, fatal_limit, why, change = tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4]), ARGV[5], ARGV[6]
local FIRST, WIDTH = 7, 11

local record = redis.call("HMGET", job, "holds", "cancel", "fatal_row")
local holds, cancelled, fatal_row = record[1] or "", record[2], tonumber(record[3] or 0)
local tally, replies, ticket = tally_new(), {}, nil
local counters = { retries = 0, rate_limited = 0, requests = 0, input_tokens = 0, output_tokens = 0, cached_tokens = 0,
  cost_nano = 0, wasted_tokens = 0, wasted_nano = 0, reserved = 0, repeated = 0, lost_nano = 0 }

for at = FIRST, #ARGV, WIDTH do
  local pos, nonce, delay, kind = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2]), ARGV[at + 3]
  local by_message, waited, failure = ARGV[at + 4] == "1", tonumber(ARGV[at + 5]), ARGV[at + 6]
  local entry = flight_parse(redis.call("HGET", flight, pos))
  if not entry or entry.owner ~= owner or entry.nonce ~= nonce then
    replies[#replies + 1] = { "stale" }
  else
    counters.input_tokens = counters.input_tokens + tonumber(ARGV[at + 7])
    counters.output_tokens = counters.output_tokens + tonumber(ARGV[at + 8])
    counters.cached_tokens = counters.cached_tokens + tonumber(ARGV[at + 9])
    counters.cost_nano = counters.cost_nano + tonumber(ARGV[at + 10])
    counters.wasted_tokens = counters.wasted_tokens + tonumber(ARGV[at + 7]) + tonumber(ARGV[at + 8])
    counters.wasted_nano = counters.wasted_nano + tonumber(ARGV[at + 10])
    if kind == "lost" and entry.begun == "1" then -- as after a crash: perhaps it was paid
      counters.repeated, counters.lost_nano = counters.repeated + 1, counters.lost_nano + entry.reserve
      counters.reserved, entry.reserve = counters.reserved - entry.reserve, 0
    end
    if kind ~= "retry" and kind ~= "lost" and entry.begun == "1" then entry.attempts = entry.attempts - 1 end
    if kind == "unused" and entry.begun == "1" then counters.requests = counters.requests - 1 end
    if kind == "retry" then counters.retries = counters.retries + 1 end
    if kind == "limited" then
      counters.rate_limited = counters.rate_limited + 1
      entry.limited = entry.limited + 1
    end
    if kind == "fatal" then
      fatal_row = fatal_row + 1
      redis.call("HSET", job, "fatal_row", fatal_row)
      if fatal_row >= fatal_limit and not string.find(holds, "fatal", 1, true) then
        if holds == "" then post_pause(job, KEYS[7], now) end
        holds = holds == "" and "fatal" or holds .. ",fatal"
        redis.call("HSET", job, "holds", holds, "why:fatal", why)
        redis.call("RPUSH", KEYS[6], '{"time":' .. string.format("%.3f", now / 1000) .. "," .. change .. "}")
      end
    end
    if failure ~= "" then
      entry.history = entry.history == "[]" and "[" .. failure .. "]" or string.sub(entry.history, 1, -2) .. "," .. failure .. "]"
    end
    entry.waited = entry.waited + waited
    if cancelled then
      drop_cancelled(keys, tally, pos, entry)
      replies[#replies + 1] = { "cancelled" }
    elseif by_message and holds == "" then
      ticket = ticket or int(redis.call("HINCRBY", job, "ticket", 1))
      entry.ticket, entry.owner, entry.nonce, entry.begun = ticket, "", "", "0"
      counters.reserved = counters.reserved - entry.reserve
      entry.since, entry.dark, entry.due, entry.reserve = now, dark, now + delay, 0
      redis.call("SETRANGE", states, pos, "w")
      redis.call("HSET", flight, pos, flight_format(entry))
      replies[#replies + 1] = { "retry", ticket }
    else
      give_back(keys, tally, pos, entry, now + delay)
      replies[#replies + 1] = { "back" }
    end
  end
end
add_counters(job, counters)
tally_write(keys, tally)
replies[#replies + 1] = { holds == "" and "running" or "held" }
return replies
