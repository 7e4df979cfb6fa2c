-- count_redrive.lua: count that the dead-letter queue sends an item back.
--
-- KEYS[1]  job       HASH  the job's record
-- KEYS[2]  redriven  HASH  position -> times
-- ARGV[1]  position
--
-- Returns  {times}   "0": the job is gone
--- include expiry
local job, redriven, position = KEYS[1], KEYS[2], ARGV[1]
if redis.call("EXISTS", job) == 0 then return { "0" } end
local times = redis.call("HINCRBY", redriven, position, 1)
expire_with(job, redriven)
return { tostring(times) }
