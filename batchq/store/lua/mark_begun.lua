-- mark_begun.lua: the calls of leased items start now. From here on a death of the worker costs an attempt.
--
-- KEYS[1]   job     HASH  the job's record
-- KEYS[2]   flight  HASH  position -> entry of an item in flight
-- ARGV[1]   owner   incarnation of the claimer
-- ARGV[2..] position, nonce of each
--
-- Returns, for each item  {"ok", attempts} | {"stale"}   the lease is not yours: do not call
--                         | {"cancelled"} | {"paused"}   do not call; release says what becomes of the item
--- include clock
--- include flight
local job, flight, owner = KEYS[1], KEYS[2], ARGV[1]
local FIRST, WIDTH = 2, 2

local positions, replies, writes, requests = {}, {}, {}, 0
local entries = {} -- by position: one asked for twice in a call is one request
for i = FIRST, #ARGV, WIDTH do positions[#positions + 1] = ARGV[i] end
local record = redis.call("HMGET", job, "holds", "cancel")
local known = redis.call("HMGET", flight, unpack(positions))
for n, pos in ipairs(positions) do
  local nonce = ARGV[FIRST + (n - 1) * WIDTH + 1]
  if entries[pos] == nil then entries[pos] = flight_parse(known[n]) or false end
  local entry = entries[pos]
  if not entry or entry.owner ~= owner or entry.nonce ~= nonce then
    replies[n] = { "stale" }
  elseif entry.begun == "1" then
    replies[n] = { "ok", int(entry.attempts) } -- the reply to an earlier call was lost
  elseif record[2] then
    replies[n] = { "cancelled" }
  elseif (record[1] or "") ~= "" then
    replies[n] = { "paused" }
  else
    entry.begun, entry.attempts, requests = "1", entry.attempts + 1, requests + 1
    writes[#writes + 1] = pos
    writes[#writes + 1] = flight_format(entry)
    replies[n] = { "ok", int(entry.attempts) }
  end
end
if #writes > 0 then
  redis.call("HSET", flight, unpack(writes))
  redis.call("HINCRBY", job, "requests", requests)
end
return replies
