-- free_slots.lua: calls of a quota ended; their slots are free.
--
-- KEYS[1]  slots  HASH  incarnation -> calls in flight
-- ARGV[1]  owner
-- ARGV[2]  n
--
-- Returns  what the owner still holds
local slots, owner, n = KEYS[1], ARGV[1], tonumber(ARGV[2])
local left = redis.call("HINCRBY", slots, owner, -n)
if left <= 0 then redis.call("HDEL", slots, owner) end
return math.max(0, left)
