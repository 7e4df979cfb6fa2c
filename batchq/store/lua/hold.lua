-- hold.lua: add or lift one cause for a job to pause; the other causes stay.
--
-- KEYS[1]  job    HASH  the job's record
-- KEYS[2]  log    LIST  the job's history
-- KEYS[3]  events HASH  what its webhook is still to hear of
-- ARGV[1]  now    test clock, "" for the server's
-- ARGV[2]  schema of the caller
-- ARGV[3]  on     "1" adds, "0" lifts
-- ARGV[4]  cause  person, budget or fatal; to lift, also "all"
-- ARGV[5]  why    shown with the state
-- ARGV[6]  change a line of history (JSON without its time), written only when something changed
-- ARGV[7]  max_nano  from now on the job may cost so much, nano-dollars; "" for as much as before
--
-- Returns  {"ok"} | {"unchanged"} | {"gone"} | {"ended", state} | {"newer"}
--          {"unlimited"}     it was submitted without a limit of its cost, so its calls are not reckoned
--          {"spent", nano}   so much is spent already: the limit must be above
--- include clock
--- include events
--- include pauses
local job, log, events, now = KEYS[1], KEYS[2], KEYS[3], clock_ms(ARGV[1])
local schema, on, cause, why, change, max_nano = tonumber(ARGV[2]), ARGV[3] == "1", ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local record = redis.call("HMGET", job, "v", "state", "holds", "cancel", "max_nano", "cost_nano", "lost_nano")
if not record[1] or record[2] == "receiving" then return { "gone" } end
if tonumber(record[1]) > schema then return { "newer" } end
if record[4] then return { "ended", "cancelled" } end
if record[2] ~= "pending" and record[2] ~= "processing" then return { "ended", record[2] } end
if max_nano ~= "" then
  if not record[5] then return { "unlimited" } end
  local spent = tonumber(record[6] or 0) + tonumber(record[7] or 0)
  if tonumber(max_nano) <= spent then return { "spent", int(spent) } end
  redis.call("HSET", job, "max_nano", max_nano)
end
local kept, found = {}, false
for held in string.gmatch(record[3] or "", "[^,]+") do
  if held == cause or (cause == "all" and not on) then found = true else kept[#kept + 1] = held end
end
if on then
  if found then return { "unchanged" } end
  kept[#kept + 1] = cause
  redis.call("HSET", job, "why:" .. cause, why)
elseif not found and max_nano == "" then
  return { "unchanged" }
end
redis.call("HSET", job, "holds", table.concat(kept, ","))
if on and #kept == 1 then post_pause(job, events, now) end
if not on then redis.call("HSET", job, "fatal_row", "0") end
redis.call("RPUSH", log, '{"time":' .. string.format("%.3f", now / 1000) .. "," .. change .. "}")
return { "ok" }
