-- Adds to the job's counters whatever is not zero, in one pass.
local function add_counters(job, counters)
  for name, amount in pairs(counters) do
    if amount ~= 0 then redis.call("HINCRBY", job, name, int(amount)) end
  end
end
