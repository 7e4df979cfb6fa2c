-- draw.lua: draw permits of one quota: slots in time, evenly paced, never over the limit in any rolling minute.
--
-- KEYS[1]  quota   HASH  hold (ms), next (slot, µs), b<n>: permits whose slot lies in quarter second n
-- KEYS[2]  slots   HASH  incarnation -> calls in flight
-- ARGV[1]  now     test clock in ms, "" for the server's
-- ARGV[2]  owner   incarnation that draws
-- ARGV[3]  wanted  permits
-- ARGV[4]  rpm     requests a minute; "" for no limit
-- ARGV[5]  concurrency  calls in flight; "" for no limit
-- ARGV[6]  ahead_ms     how far ahead of now a slot may lie
--
-- Returns  {wait_ms, binding, slot (ms ahead), …}   no slot: ask again after wait_ms; binding says for what:
--          "hold", "requests_per_minute", "concurrency" or ""
--- include clock
local quota, slots = KEYS[1], KEYS[2]
local now = clock_ms(ARGV[1])
local owner, wanted, rpm, concurrency, ahead = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local BUCKET_MS, WINDOW_MS, POLL_MS = 250, 60000, 100

local hold = tonumber(redis.call("HGET", quota, "hold") or 0)
if hold > now then return { hold - now, "hold" } end

if concurrency then
  local used = 0
  for _, n in ipairs(redis.call("HVALS", slots)) do used = used + tonumber(n) end
  wanted = math.min(wanted, concurrency - used)
  if wanted <= 0 then return { POLL_MS, "concurrency" } end
end

local reply = { 0, "" }
if not rpm then
  for _ = 1, wanted do reply[#reply + 1] = 0 end
else
  local buckets, oldest = {}, math.floor((now - WINDOW_MS) / BUCKET_MS)
  local used, gone = 0, {}
  local flat = redis.call("HGETALL", quota)
  local next_us = 0
  for i = 1, #flat, 2 do
    local name = flat[i]
    if name == "next" then
      next_us = tonumber(flat[i + 1])
    elseif string.sub(name, 1, 1) == "b" then
      local at = tonumber(string.sub(name, 2))
      if at < oldest then
        gone[#gone + 1] = name
      else
        buckets[at] = tonumber(flat[i + 1])
        used = used + buckets[at]
      end
    end
  end
  if #gone > 0 then redis.call("HDEL", quota, unpack(gone)) end
  local gap_us = 60000000 / rpm
  local slot_us = math.max(now * 1000, next_us)
  for _ = 1, wanted do
    local ms = math.floor(slot_us / 1000)
    if ms > now + ahead then break end
    -- all that could share a rolling minute with this slot: buckets that end less than a minute before it
    local from, sum = math.floor((ms - WINDOW_MS) / BUCKET_MS), 0
    for at, n in pairs(buckets) do if at >= from then sum = sum + n end end
    if sum >= rpm then
      local first = nil
      for at in pairs(buckets) do if at >= from and (not first or at < first) then first = at end end
      reply[1] = math.max(1, (first + 1) * BUCKET_MS + WINDOW_MS - now)
      reply[2] = "requests_per_minute"
      break
    end
    local at = math.floor(ms / BUCKET_MS)
    buckets[at] = (buckets[at] or 0) + 1
    redis.call("HINCRBY", quota, "b" .. int(at), 1)
    reply[#reply + 1] = ms - now
    slot_us = slot_us + gap_us
  end
  if #reply > 2 then
    redis.call("HSET", quota, "next", string.format("%.0f", slot_us))
    reply[1], reply[2] = 0, ""
  elseif reply[1] == 0 then
    reply[1] = math.max(1, math.floor(slot_us / 1000) - now - ahead)
    reply[2] = "requests_per_minute"
  end
  redis.call("PEXPIRE", quota, 2 * WINDOW_MS)
end
if concurrency and #reply > 2 then redis.call("HINCRBY", slots, owner, #reply - 2) end
return reply
