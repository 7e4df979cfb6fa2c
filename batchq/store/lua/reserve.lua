-- reserve.lua: set aside what calls may cost, so that a job's limit is never passed; the job is held when no call fits.
--
-- KEYS[1]  job     HASH  the job's record
-- KEYS[2]  flight  HASH  position -> entry of an item in flight
-- KEYS[3]  log     LIST  the job's history
-- KEYS[4]  events  HASH  what its webhook is still to hear of
-- ARGV[1]  now     test clock, "" for the server's
-- ARGV[2]  owner   incarnation of the claimer
-- ARGV[3]  why     shown with the state of a held job; three %s for limit, spent and the next call's cost in dollars
-- ARGV[4]  change  a line of history (JSON without its time), with %s for that
-- ARGV[5..] for each item: position, nonce, input_nano (what its input costs, at most), token_nano (an output token,
--           a decimal number), most (output tokens at most; "0": nobody said)
--
-- Returns, for each item  {"ok"}      set aside; asking again too
--                         | {"wait"}    it fits only if the calls under way cost less than was set aside for them
--                         | {"held"}    it would not fit even then: the job is held now
--                         | {"stale"}   the lease is not yours
--- include clock
--- include events
--- include pauses
--- include flight
local job, flight, log, events, now = KEYS[1], KEYS[2], KEYS[3], KEYS[4], clock_ms(ARGV[1])
local owner, why, change = ARGV[2], ARGV[3], ARGV[4]
local FIRST, WIDTH = 5, 5
local ENOUGH = 20 -- answers after which the longest of them tells what another may come to
local FIRST_OUTPUT, COLD_OUTPUT = 256, 8192 -- output tokens before that: likely, and set aside

local record = redis.call("HMGET", job, "max_nano", "cost_nano", "lost_nano", "reserved", "n_S", "out_max", "holds")
local max, spent = tonumber(record[1]), tonumber(record[2] or 0) + tonumber(record[3] or 0)
local reserved, known, top = tonumber(record[4] or 0), tonumber(record[5] or 0) >= ENOUGH, tonumber(record[6] or 0)
local holds, before = record[7] or "", reserved

local function dollars(nano) return (string.gsub(string.format("$%.6f", nano / 1e9), "%.?0+$", "")) end

local function hold(cost)
  if string.find(holds, "budget", 1, true) then return end
  if holds == "" then post_pause(job, events, now) end
  holds = holds == "" and "budget" or holds .. ",budget"
  local said = string.format(why, dollars(max), dollars(spent), dollars(cost))
  redis.call("HSET", job, "holds", holds, "why:budget", said)
  local line = string.gsub(change, "%%s", function() return said end)
  redis.call("RPUSH", log, '{"time":' .. string.format("%.3f", now / 1000) .. "," .. line .. "}")
end

local replies, writes = {}, {}
for at = FIRST, #ARGV, WIDTH do
  local pos, nonce, input, token, most = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
  local entry = flight_parse(redis.call("HGET", flight, pos))
  local function cost(output) return input + math.ceil(token * (most > 0 and math.min(most, output) or output)) end
  local likely = cost(known and top or math.max(top, FIRST_OUTPUT))
  local upper = known and likely or cost(math.max(top, COLD_OUTPUT))
  if not entry or entry.owner ~= owner or entry.nonce ~= nonce then
    replies[#replies + 1] = { "stale" }
  elseif not max or entry.reserve > 0 then
    replies[#replies + 1] = { "ok" }
  elseif spent + reserved + upper <= max or (reserved == 0 and spent + likely <= max) then
    reserved, entry.reserve = reserved + upper, upper
    writes[#writes + 1] = pos
    writes[#writes + 1] = flight_format(entry)
    replies[#replies + 1] = { "ok" }
  elseif spent + likely <= max then
    replies[#replies + 1] = { "wait" }
  else
    hold(likely)
    replies[#replies + 1] = { "held" }
  end
end
if #writes > 0 then
  redis.call("HSET", flight, unpack(writes))
  redis.call("HINCRBY", job, "reserved", int(reserved - before))
end
return replies
