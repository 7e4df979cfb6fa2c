-- keep_file.lua: store a file of an answer, and none of a job that is gone.
--
-- KEYS[1]  job     HASH  the job's record
-- KEYS[2]  files   HASH  sha-256 -> bytes
-- ARGV[1]  digest  sha-256, hex
-- ARGV[2]  bytes
--
-- Returns  {"ok"} | {"gone"}
--- include expiry
local job, files = KEYS[1], KEYS[2]
if redis.call("EXISTS", job) == 0 then return { "gone" } end
redis.call("HSET", files, ARGV[1], ARGV[2])
expire_with(job, files)
return { "ok" }
