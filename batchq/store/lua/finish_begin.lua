-- finish_begin.lua: ask for the right to finish a job: one finisher at a time, one generation.
--
-- KEYS[1]  job       HASH  the job's record
-- ARGV[1]  now       test clock, "" for the server's
-- ARGV[2]  schema    of the caller
-- ARGV[3]  owner     nonce of the finisher
-- ARGV[4]  stale_ms  a finisher that began longer ago is dead
--
-- Returns  {"ok", generation} | {"open"} | {"busy"} | {"ended"} | {"gone"} | {"newer"}
--- include clock
local job, now = KEYS[1], clock_ms(ARGV[1])
local schema, owner, stale_ms = tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local record = redis.call("HMGET", job, "v", "state", "pending", "processing", "fin", "gen")
if not record[1] or record[2] == "receiving" then return { "gone" } end
if tonumber(record[1]) > schema then return { "newer" } end
if record[2] ~= "pending" and record[2] ~= "processing" then return { "ended" } end
if tonumber(record[3]) + tonumber(record[4]) ~= 0 then return { "open" } end
local holder, gen, since = string.match(record[5] or "", "^([^|]*)|(%d+)|(%d+)$")
if holder and holder ~= owner and gen == record[6] and now - tonumber(since) <= stale_ms then return { "busy" } end
redis.call("HSET", job, "fin", owner .. "|" .. record[6] .. "|" .. int(now))
return { "ok", record[6] }
