-- cut.lua: take the next batch of a collector, to make a job of it; one batch at a time, one caller.
--
-- KEYS[1]  collector  HASH  its options, the number of its last batch, when the oldest item came
-- KEYS[2]  open       LIST  items that are in no batch yet
-- KEYS[3]  batch      LIST  items of the batch that is being made a job
-- ARGV[1]  now       test clock, "" for the server's
-- ARGV[2]  owner     nonce of the caller
-- ARGV[3]  force     "1": whether or not there are enough, or the oldest has waited long enough
-- ARGV[4]  stale_ms  a caller that began longer ago is dead, and its batch is the next caller's
--
-- Returns  {"ok", number, options}   the batch; made anew by whoever asks after its caller died
--          {"wait", ms}              until the oldest item has waited long enough
--          {"empty"} | {"busy"}
--- include clock
local collector, open, batch, now = KEYS[1], KEYS[2], KEYS[3], clock_ms(ARGV[1])
local owner, force, stale_ms = ARGV[2], ARGV[3] == "1", tonumber(ARGV[4])
local known = redis.call("HMGET", collector, "flush_items", "flush_ms", "first", "owner", "owned", "options")
if redis.call("LLEN", batch) == 0 then
  local waiting = redis.call("LLEN", open)
  if waiting == 0 then return { "empty" } end
  local most, waited = tonumber(known[1]), now - tonumber(known[3])
  if not force and waiting < most and waited < tonumber(known[2]) then return { "wait", tonumber(known[2]) - waited } end
  for first = 0, math.min(waiting, most) - 1, 1000 do -- unpack takes no more than some thousands
    redis.call("RPUSH", batch, unpack(redis.call("LRANGE", open, first, math.min(first + 999, most - 1))))
  end
  redis.call("LTRIM", open, math.min(waiting, most), -1)
  redis.call("HINCRBY", collector, "batches", 1)
  redis.call("HSET", collector, "first", int(now), "of_batch", known[6])
elseif known[4] and known[4] ~= owner and now - tonumber(known[5]) < stale_ms then
  return { "busy" }
end
redis.call("HSET", collector, "owner", owner, "owned", int(now))
local found = redis.call("HMGET", collector, "batches", "of_batch")
return { "ok", found[1], found[2] }
