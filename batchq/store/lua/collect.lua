-- collect.lua: add an item to a collector. The same one again is known as long as its batch is no job.
--
-- KEYS[1]  collector  HASH  its options, the number of its last batch, when the oldest item came
-- KEYS[2]  open       LIST  items that are in no batch yet
-- KEYS[3]  ids        HASH  id -> digest, of items that are in no job yet
-- ARGV[1]  now     test clock, "" for the server's
-- ARGV[2]  id      of the item
-- ARGV[3]  digest  of its content
-- ARGV[4]  item    JSON
-- ARGV[5..] field, value pairs: the options, as this caller has them
--
-- Returns  {"ok", waiting} | {"known", waiting}   how many wait for a batch now
--          {"conflict"}                           another item with this id waits
--- include clock
local collector, open, ids, now = KEYS[1], KEYS[2], KEYS[3], clock_ms(ARGV[1])
local id, digest, item = ARGV[2], ARGV[3], ARGV[4]
local known = redis.call("HGET", ids, id)
if known then
  if known ~= digest then return { "conflict" } end
  return { "known", redis.call("LLEN", open) }
end
redis.call("HSET", ids, id, digest)
local waiting = redis.call("RPUSH", open, item)
if waiting == 1 then redis.call("HSET", collector, "first", int(now)) end
local fields = {}
for i = 5, #ARGV do fields[#fields + 1] = ARGV[i] end
redis.call("HSET", collector, unpack(fields))
return { "ok", waiting }
