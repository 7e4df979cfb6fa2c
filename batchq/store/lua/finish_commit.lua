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
-- ARGV[5]   failure  why the job as a whole failed; "" when it did not
-- ARGV[6]   change   a line of history (JSON without its time) for that
--
-- Returns  {"ok", state} | {"reopened"} | {"not_yours"}
--- include clock
--- include events
local job, log, events, now = KEYS[1], KEYS[2], KEYS[3], clock_ms(ARGV[1])
local owner, gen, retention, failure, change = ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5], ARGV[6]
local record = redis.call("HMGET", job, "state", "pending", "processing", "fin", "gen", "cancel")
if record[5] ~= gen then return { "reopened" } end
local holder, of = string.match(record[4] or "", "^([^|]*)|(%d+)|")
if holder ~= owner or of ~= gen then return { "not_yours" } end
if record[1] ~= "pending" and record[1] ~= "processing" then return { "ok", record[1] } end -- the first reply was lost
if tonumber(record[2]) + tonumber(record[3]) ~= 0 then return { "reopened" } end
local state = failure == "" and "completed" or "failed"
if record[6] == "cancel" then state = "cancelled" end
redis.call("HSET", job, "state", state, "finished", int(now), "holds", "")
if state == "failed" then redis.call("HSET", job, "error", failure) end
local lines = {
  completed = '"change":"completed","by":"worker","why":""',
  cancelled = '"change":"ended","by":"worker","why":"nothing is in flight any more"',
  failed = change,
}
redis.call("RPUSH", log, '{"time":' .. string.format("%.3f", now / 1000) .. "," .. lines[state] .. "}")
post_event(job, events, gen, state, now)
if retention > 0 then
  for _, key in ipairs(KEYS) do redis.call("PEXPIRE", key, int(retention)) end
end
return { "ok", state }
