-- fail.lua: a call got no answer, a 5xx or a broken connection; where these outweigh the answers the breaker opens.
-- Equal to Quota.fail of core/quota.py.
--
-- KEYS[1]  quota      HASH  limits, hold, pace and more, see draw.lua
-- ARGV[1]  now        test clock in ms, "" for the server's
-- ARGV[2]  succeeded  calls of this process answered before it, not told yet
-- ARGV[3]  row  by how much failures outweigh the answers when the breaker opens
--
-- Returns  {held_ms, charged}  the end of the hold from now, 0: the breaker is closed; charged 1: to the item's attempts
--- include clock
--- include quota
local quota, now, succeeded, row = KEYS[1], clock_ms(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local q = quota_open(quota)
answered(q, succeeded, now)
local clock = math.max(q.last, now + q.skew) -- the quota's own

local was_open = is_open(q)
local held_ms, charged = 0, 1
if was_open and q.hold > now then
  held_ms, charged = q.hold - now, 0 -- it began before the breaker opened
else
  if not was_open then q.failing = q.failing + 1 end
  if was_open or q.failing >= row then
    if not was_open then
      q.open_at = clock
      if q.cap_top == 0 then q.cap_top = q.cap > 0 and q.cap or pace_seen(q) end
      q.cap = math.max(LOWEST_RPM, math.floor(q.cap_top / 2))
    end
    if not was_open or clock - q.open_at <= PATIENCE_MS then charged = 0 end
    q.row = math.max(q.row + 1, BREAKER_ROW)
    q.failing, q.probe_for = 0, ""
    local doubled = FIRST_OUTAGE_HOLD_MS * 2 ^ math.min(q.row - BREAKER_ROW, 10)
    held_ms = hold_quota(q, now, math.min(LONGEST_OUTAGE_HOLD_MS, doubled), "outage")
  end
end
quota_save(q)
return { held_ms, charged }
