-- refuse.lua: the provider refused a call for rate: hold the quota for the fleet, learn its limit, slow down.
-- Equal to Quota.refuse of core/quota.py. Holds never get shorter.
--
-- KEYS[1]  quota   HASH  limits, hold, pace and more, see draw.lua
-- ARGV[1]  now     test clock in ms, "" for the server's
-- ARGV[2]  kind    day, hold (a minute's limit) or capacity (it named no quota)
-- ARGV[3]  for_ms  what it asked for, from now
-- ARGV[4]  rpm     requests a minute as the refusal says; "" where it does not
-- ARGV[5]  tpm     input tokens a minute
-- ARGV[6]  rpd     requests a day
--
-- Returns  the end of the hold, ms from now
--- include clock
--- include quota
local quota, now, kind, for_ms = KEYS[1], clock_ms(ARGV[1]), ARGV[2], tonumber(ARGV[3])
local rpm, tpm, rpd = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local q = quota_open(quota)
local own = q.limits
for name, value in pairs({ rpm = rpm, tpm = tpm, rpd = rpd }) do
  redis.call("HSET", quota, "learnt_" .. name, int(value))
  q["learnt_" .. name] = value
end
q.limits = limits_in_force(q)
local same = true
for _, name in ipairs(DIMENSIONS) do same = same and own[name] == q.limits[name] end

local clock = math.max(q.last, now + q.skew)
if kind ~= "day" and same and clock - q.dec_at >= 1000 then
  local current = q.cap > 0 and q.cap or pace_seen(q)
  if q.cap_top == 0 then q.cap_top = current end
  local tenths = kind == "capacity" and 7 or 9
  q.cap = math.max(LOWEST_RPM, math.floor(q.cap_top / 100), math.floor(current * tenths / 10))
  q.dec_at = clock
  if kind == "capacity" then q.row = q.row + 1 end
end
q.probe_for = ""
if kind == "capacity" then
  for_ms = math.max(for_ms, math.min(LONGEST_CAPACITY_HOLD_MS, 500 * 2 ^ math.min(q.row, 10)))
end
local held_ms = hold_quota(q, now, for_ms, kind)
quota_save(q)
return held_ms
