-- seal.lua: the whole submission is stored; from now on the job exists.
--
-- KEYS[1]  job     HASH  the job's record
-- KEYS[2]  log     LIST  the job's history
-- ARGV[1]  now     test clock, "" for the server's
-- ARGV[2]  sub     nonce of this submission
-- ARGV[3]  total   items stored
-- ARGV[4]  digest  of the content, to recognise a repeated submission
-- ARGV[5]  lanes   JSON list of the job's lanes
-- ARGV[6]  change  a line of history (JSON without its time)
--
-- Returns  {"ok", now} | {"not_yours"} | {"incomplete", stored}
--- include clock
local job, log, now = KEYS[1], KEYS[2], clock_ms(ARGV[1])
local sub, total, change = ARGV[2], ARGV[3], ARGV[6]
local known = redis.call("HMGET", job, "state", "sub", "total")
if not known[1] or known[2] ~= sub then return { "not_yours" } end
if known[1] ~= "receiving" then return { "ok", int(now) } end -- the reply to an earlier seal was lost; it may run by now
if known[3] ~= total then return { "incomplete", known[3] } end
redis.call("HSET", job, "state", "pending", "digest", ARGV[4], "lanes", ARGV[5], "sealed", int(now))
redis.call("RPUSH", log, '{"time":' .. string.format("%.3f", now / 1000) .. "," .. change .. "}")
return { "ok", int(now) }
