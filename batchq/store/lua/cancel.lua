-- cancel.lua: from now on nothing of the job goes out; cancel_sweep settles what is pending.
--
-- KEYS[1]  job     HASH  the job's record
-- KEYS[2]  log     LIST  the job's history
-- ARGV[1]  now     test clock, "" for the server's
-- ARGV[2]  schema  of the caller
-- ARGV[3]  cause   "cancel": the job ends cancelled · "deadline": it ends completed, with that reason
-- ARGV[4]  change  a line of history (JSON without its time)
--
-- Returns  {"ok"} | {"unchanged"} | {"gone"} | {"ended", state} | {"newer"}
--- include clock
local job, log, now = KEYS[1], KEYS[2], clock_ms(ARGV[1])
local schema, cause, change = tonumber(ARGV[2]), ARGV[3], ARGV[4]
local record = redis.call("HMGET", job, "v", "state", "cancel", "deadline")
if not record[1] or record[2] == "receiving" then return { "gone" } end
if tonumber(record[1]) > schema then return { "newer" } end
if record[3] == cause or record[3] == "cancel" then return { "unchanged" } end
-- a redrive took the deadline away since the caller read it
if cause == "deadline" and (not record[4] or tonumber(record[4]) > now) then return { "unchanged" } end
if record[2] ~= "pending" and record[2] ~= "processing" then return { "ended", record[2] } end
redis.call("HSET", job, "cancel", cause, "swept", "0", "holds", "")
redis.call("RPUSH", log, '{"time":' .. string.format("%.3f", now / 1000) .. "," .. change .. "}")
return { "ok" }
