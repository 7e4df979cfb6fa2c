-- put_file.lua: store the bytes of an inlined file while the job is being received.
--
-- KEYS[1]  job     HASH  the job's record
-- KEYS[2]  files   HASH  sha-256 -> bytes
-- ARGV[1]  sub     nonce of this submission
-- ARGV[2]  digest  sha-256, hex
-- ARGV[3]  bytes
--
-- Returns  {"ok"} | {"not_yours"}
local job, files, sub = KEYS[1], KEYS[2], ARGV[1]
local known = redis.call("HMGET", job, "state", "sub")
if known[1] ~= "receiving" or known[2] ~= sub then return { "not_yours" } end
redis.call("HSET", files, ARGV[2], ARGV[3])
return { "ok" }
