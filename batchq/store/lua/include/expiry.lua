-- All keys of a job that has ended expire at one instant; one that is made later joins them.
local function expire_with(job, key)
  local left = redis.call("PTTL", job)
  if left > 0 then redis.call("PEXPIRE", key, left) end
end
