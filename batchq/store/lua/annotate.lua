-- annotate.lua: set fields of a job's record, and make no record for a job that is gone.
--
-- KEYS[1]   job  HASH  the job's record
-- ARGV[1..] field, value pairs
--
-- Returns  {"ok"} | {"gone"}
local job = KEYS[1]
if redis.call("EXISTS", job) == 0 then return { "gone" } end
redis.call("HSET", job, unpack(ARGV))
return { "ok" }
