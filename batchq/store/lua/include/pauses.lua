-- A job that ran is paused now. A job may pause often in one generation, so its pauses are numbered.
local function post_pause(job, events, now)
  local number = redis.call("HGET", job, "gen") .. "-p" .. redis.call("HINCRBY", job, "pauses", 1)
  post_event(job, events, number, "paused", now)
end
