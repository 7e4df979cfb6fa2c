-- delete.lua: remove every key of a job that has ended.
--
-- KEYS[1]   job   HASH  the job's record
-- KEYS[2..] rest        every other key of the job
-- ARGV[1]   schema  of the caller
--
-- Returns  {"ok"} | {"open"}               it may still run
--                 | {"cancelled", items}   it will end; so many items are still in flight
--                 | {"gone"} | {"newer"}
local job, schema = KEYS[1], tonumber(ARGV[1])
local record = redis.call("HMGET", job, "v", "state", "cancel", "processing")
if not record[1] or record[2] == "receiving" then return { "gone" } end
if tonumber(record[1]) > schema then return { "newer" } end
if record[2] == "pending" or record[2] == "processing" then
  if record[3] == "cancel" then return { "cancelled", record[4] } end
  return { "open" }
end
redis.call("UNLINK", unpack(KEYS))
return { "ok" }
