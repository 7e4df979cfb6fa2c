-- finish_commit.lua: the job has ended, unless a redrive opened it again since finish_begin.
--
-- KEYS[1]   job     HASH  the job's record
-- KEYS[2]   log     LIST  the job's history
-- KEYS[3]   events  HASH  what its webhook is still to hear of
-- KEYS[4..] rest          every other key of the job: all expire together
-- ARGV[1]   now     test clock, "" for the server's
-- ARGV[2]   owner   nonce of the finisher
-- ARGV[3]   gen     that finish_begin answered
-- ARGV[4]   retention_ms  kept so long from now; "0" for ever
--
-- Returns  {"ok", state} | {"reopened"} | {"not_yours"}
--- include clock
--- include events
local job, log, events, now = KEYS[1], KEYS[2], KEYS[3], clock_ms(ARGV[1])
local owner, gen, retention = ARGV[2], ARGV[3], tonumber(ARGV[4])
local record = redis.call("HMGET", job, "state", "pending", "processing", "fin", "gen", "cancel")
if record[5] ~= gen then return { "reopened" } end
local holder, of = string.match(record[4] or "", "^([^|]*)|(%d+)|")
if holder ~= owner or of ~= gen then return { "not_yours" } end
if record[1] ~= "pending" and record[1] ~= "processing" then return { "ok", record[1] } end -- the first reply was lost
if tonumber(record[2]) + tonumber(record[3]) ~= 0 then return { "reopened" } end
local state = record[6] == "cancel" and "cancelled" or "completed"
redis.call("HSET", job, "state", state, "finished", int(now), "holds", "")
local line = state == "cancelled" and '"ended","by":"worker","why":"nothing is in flight any more"'
  or '"' .. state .. '","by":"worker","why":""'
redis.call("RPUSH", log, '{"time":' .. string.format("%.3f", now / 1000) .. ',"change":' .. line .. "}")
post_event(job, events, gen, state, now)
if retention > 0 then
  for _, key in ipairs(KEYS) do redis.call("PEXPIRE", key, int(retention)) end
end
return { "ok", state }
