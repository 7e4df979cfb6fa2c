-- beat_submission.lua: say that the submitter is alive, on a timer, however slowly its input comes.
--
-- KEYS[1]  job  HASH  the job's record
-- ARGV[1]  now  test clock, "" for the server's
-- ARGV[2]  sub  nonce of this submission
--
-- Returns  {"ok"} | {"not_yours"}   taken over, sealed or swept away
--- include clock
local job, sub = KEYS[1], ARGV[2]
local known = redis.call("HMGET", job, "state", "sub")
if known[1] ~= "receiving" or known[2] ~= sub then return { "not_yours" } end
redis.call("HSET", job, "sub_beat", int(clock_ms(ARGV[1])))
return { "ok" }
