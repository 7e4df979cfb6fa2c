-- The table of shards, a string of fixed-width entries: base (12 digits), items (5), lane (3). Entry k is shard k.
local SHARD_WIDTH = 20

local function shard_entry(shards, k)
  local raw = redis.call("GETRANGE", shards, k * SHARD_WIDTH, (k + 1) * SHARD_WIDTH - 1)
  if raw == "" then return nil end
  return tonumber(string.sub(raw, 1, 12)), tonumber(string.sub(raw, 13, 17)), tostring(tonumber(string.sub(raw, 18, 20)))
end
