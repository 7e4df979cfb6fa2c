-- beat.lua: a worker process says that it lives, and learns how long the store was silent.
--
-- KEYS[1]  beats       HASH  incarnation -> "beat (ms)|what it consumes (JSON)"
-- KEYS[2]  weather     HASH  last (ms of anybody's last beat), dark (ms of outage in all), grace_until (ms)
-- ARGV[1]  now         test clock, "" for the server's
-- ARGV[2]  incarnation "" for a look without a beat: it writes nothing
-- ARGV[3]  body        what it consumes, JSON
-- ARGV[4]  period_ms   between two of its beats
-- ARGV[5]  lease_ms
--
-- Returns  {now, dark, grace_until, run id of the server}
--- include clock
local beats, weather, now = KEYS[1], KEYS[2], clock_ms(ARGV[1])
local incarnation, body, period, lease = ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local known = redis.call("HMGET", weather, "last", "dark", "grace_until")
local last, dark, grace = tonumber(known[1] or now), tonumber(known[2] or 0), tonumber(known[3] or 0)
-- Nobody beat for more than two periods: it was the store that was away, not every worker at once. (Also when a
-- server with another clock took over: then time runs backwards, or leaps.) The sweeper may be back before any beat.
if now - last > 2 * period or now < last then
  dark = dark + math.max(0, now - last - period)
  grace = now + lease
end
if incarnation ~= "" then
  redis.call("HSET", beats, incarnation, int(now) .. "|" .. body)
  redis.call("HSET", weather, "last", int(now), "dark", int(dark), "grace_until", int(grace))
end
return { int(now), int(dark), int(grace), string.match(redis.call("INFO", "server"), "run_id:(%w+)") or "?" }
