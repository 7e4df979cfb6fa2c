-- cut_done.lua: a batch of a collector is a job.
--
-- KEYS[1]  collector  HASH  its options, the number of its last batch, when the oldest item came
-- KEYS[2]  batch      LIST  items of the batch
-- KEYS[3]  ids        HASH  id -> digest, of items that are in no job yet
-- ARGV[1]  number  of the batch
-- ARGV[2..] ids of its items
--
-- Returns  {"ok"} | {"changed"}   it was done before
local collector, batch, ids, number = KEYS[1], KEYS[2], KEYS[3], ARGV[1]
if redis.call("HGET", collector, "batches") ~= number then return { "changed" } end
redis.call("DEL", batch)
for i = 2, #ARGV do redis.call("HDEL", ids, ARGV[i]) end
redis.call("HDEL", collector, "owner", "owned", "of_batch", "error")
return { "ok" }
