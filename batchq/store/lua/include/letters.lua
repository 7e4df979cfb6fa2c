-- Puts dead letters into the job's outbox, "shard:position" each; of too many the newest are kept.
local function post_letters(box, limit, letters)
  if limit == 0 or #letters == 0 then return end
  for first = 1, #letters, 1000 do -- unpack takes no more than some thousands
    redis.call("RPUSH", box, unpack(letters, first, math.min(first + 999, #letters)))
  end
  redis.call("LTRIM", box, -limit, -1)
end
