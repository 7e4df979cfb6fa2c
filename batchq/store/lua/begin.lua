-- begin.lua: open a job for receiving, or say what already stands under its id.
--
-- KEYS[1]   job      HASH    the job's record
-- KEYS[2..] rest             every other key of the job, dropped when a dead submission is taken over; there may be
--                            hundreds, so they are left out at first
-- ARGV[1]   now      test clock, "" for the server's
-- ARGV[2]   schema   of the caller
-- ARGV[3]   sub      nonce of this submission
-- ARGV[4]   stale_ms a submitter that has not beaten for so long is dead
-- ARGV[5..] field, value pairs of the new record
--
-- Returns  {"new", now} | {"taken_over", now}  write shards now
--          {"stale"}                          a dead submission stands here: ask again with all keys
--          {"busy"}                           another submitter is alive
--          {"exists"}                         sealed already
--          {"newer"}                          written by a newer batchq
--- include clock
local job = KEYS[1]
local now = clock_ms(ARGV[1])
local schema, sub, stale_ms = tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local known = redis.call("HMGET", job, "v", "state", "sub", "sub_beat")
local answer = "new"
if known[1] then
  if tonumber(known[1]) > schema then return { "newer" } end
  if known[2] ~= "receiving" then return { "exists" } end
  if known[3] ~= sub then
    if now - tonumber(known[4]) <= stale_ms then return { "busy" } end
    answer = "taken_over"
  end
  if #KEYS == 1 then return { "stale" } end
  redis.call("DEL", unpack(KEYS))
end
local fields = { "v", ARGV[2], "state", "receiving", "sub", sub, "sub_beat", int(now), "created", int(now) }
for i = 5, #ARGV do fields[#fields + 1] = ARGV[i] end
for _, name in ipairs({ "total", "pending", "processing", "ticket", "shards", "gen" }) do
  fields[#fields + 1], fields[#fields + 2] = name, "0"
end
redis.call("HSET", job, unpack(fields))
return { answer, int(now) }
