-- claim_event.lua: take an event to send it now, and set when it is sent again should nobody take it off.
--
-- KEYS[1]  events  HASH  number -> tries, due (ms), time (ms), type
-- ARGV[1]  number  of the event in its job
-- ARGV[2]  seen    the entry as the caller read it
-- ARGV[3]  next    the entry from now on
--
-- Returns  {"ok"} | {"changed"}   somebody else took it, or it is gone
local events, number, seen, next = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
if redis.call("HGET", events, number) ~= seen then return { "changed" } end
redis.call("HSET", events, number, next)
return { "ok" }
