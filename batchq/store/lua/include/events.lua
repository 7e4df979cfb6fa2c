-- Puts an event into the job's hash of events, where the job has a webhook that is to hear of it:
--   number -> tries, due (ms), time (ms), type
local function post_event(job, events, number, kind, now)
  if redis.call("HEXISTS", job, "webhook") == 0 then return end
  redis.call("HSET", events, number, "0|" .. int(now) .. "|" .. int(now) .. "|" .. kind)
end
