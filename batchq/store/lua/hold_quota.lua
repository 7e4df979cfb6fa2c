-- hold_quota.lua: nothing of this quota goes out for a while, on the whole fleet. Holds never get shorter.
--
-- KEYS[1]  quota   HASH  hold (ms) and more
-- ARGV[1]  now     test clock in ms, "" for the server's
-- ARGV[2]  for_ms  from now
--
-- Returns  the end of the hold, ms from now
--- include clock
local quota, now, for_ms = KEYS[1], clock_ms(ARGV[1]), tonumber(ARGV[2])
local hold = math.max(tonumber(redis.call("HGET", quota, "hold") or 0), now + for_ms)
redis.call("HSET", quota, "hold", int(hold))
if redis.call("PTTL", quota) < hold - now + 120000 then redis.call("PEXPIRE", quota, int(hold - now + 120000)) end
return hold - now
