-- note.lua: add a line to a job's history, and make none for a job that is gone.
--
-- KEYS[1]  job   HASH  the job's record
-- KEYS[2]  log   LIST  the job's history
-- ARGV[1]  line  JSON
--
-- Returns  {"ok"} | {"gone"}
--- include expiry
local job, log, line = KEYS[1], KEYS[2], ARGV[1]
if redis.call("EXISTS", job) == 0 then return { "gone" } end
redis.call("RPUSH", log, line)
expire_with(job, log)
return { "ok" }
