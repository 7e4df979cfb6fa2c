-- The account of a quota, as core/quota.py and core/slowdown.py describe it; both must stay equal to the last permit.
local BUCKET_MS, SPAN_MS, RING, CHUNK = 100, 60750, 700, 32
local MINUTE_US, FAST, SLOW = 60000000, 20, 21
local CLOCK_SLACK_MS, POLL_MS, RESERVED_MS, LARGE_SHARE, LARGER = 250, 100, 2000, 20, 2
local FIRST_RPM, GROWTH = 1200, 6
local LOWEST_RPM, RECOVERY_SHARE, BREAKER_ROW, LONGEST_CAPACITY_HOLD_MS = 6, 50, 3, 60000
local FIRST_OUTAGE_HOLD_MS, LONGEST_OUTAGE_HOLD_MS, PATIENCE_MS, PROBE_MS = 1000, 30000, 600000, 30000
local NO_DAY_MS = 4503599627370496
local KEEP_MS = 3456000000 -- 40 days after its last use what was learnt is forgotten
local DIMENSIONS = { "rpm", "tpm", "rpd", "conc" }
local OPTIONAL = {
  "set_rpm", "set_tpm", "set_rpd", "set_conc", "conf_rpm", "conf_tpm", "conf_rpd", "conf_conc", "conf_at",
  "learnt_rpm", "learnt_tpm", "learnt_rpd",
}
local TEXTS = { "why", "paused", "learns", "epoch", "res_for", "probe_for" }
local WRITTEN_TEXTS = { "why", "epoch", "res_for", "probe_for" } -- the others have writers of their own
local NUMBERS = {
  "hold", "skew", "last", "born", "next", "tail", "sum_r", "sum_t", "day", "of_day", "res_until",
  "cap", "cap_top", "cap_at", "dec_at", "row", "failing", "open_at", "probe_until",
}

-- What a person set (0: no limit), else the lower of what is configured and what was learnt.
local function limits_in_force(q)
  local limits = {}
  for _, name in ipairs(DIMENSIONS) do
    local set, conf, learnt = q["set_" .. name], q["conf_" .. name], q["learnt_" .. name]
    if set then
      if set > 0 then limits[name] = set end
    else
      limits[name] = conf and learnt and math.min(conf, learnt) or conf or learnt
    end
  end
  return limits
end

local function quota_open(key)
  local q = { key = key, r = {}, t = {}, there = {}, changed = {}, gone = {} }
  local names = {}
  for _, list in ipairs({ OPTIONAL, TEXTS, NUMBERS }) do
    for _, name in ipairs(list) do names[#names + 1] = name end
  end
  local values = redis.call("HMGET", key, unpack(names))
  for i, name in ipairs(names) do
    if i <= #OPTIONAL then q[name] = values[i] and tonumber(values[i]) or nil
    elseif i <= #OPTIONAL + #TEXTS then q[name] = values[i] or ""
    else q[name] = tonumber(values[i] or 0) end
  end
  q.limits = limits_in_force(q)
  return q
end

local function quota_save(q)
  local flat = {}
  for _, name in ipairs(NUMBERS) do
    flat[#flat + 1] = name
    flat[#flat + 1] = int(q[name])
  end
  for _, name in ipairs(WRITTEN_TEXTS) do
    flat[#flat + 1] = name
    flat[#flat + 1] = q[name]
  end
  for bucket in pairs(q.changed) do
    flat[#flat + 1] = "r" .. int(bucket)
    flat[#flat + 1] = int(q.r[bucket])
    flat[#flat + 1] = "t" .. int(bucket)
    flat[#flat + 1] = int(q.t[bucket])
  end
  if #q.gone > 0 then redis.call("HDEL", q.key, unpack(q.gone)) end
  redis.call("HSET", q.key, unpack(flat))
  if not (q.set_rpm or q.set_tpm or q.set_rpd or q.set_conc) and q.paused == "" then
    redis.call("PEXPIRE", q.key, KEEP_MS)
  end
end

-- -- the slowness after trouble, and its breaker --------------------------------------------------------------

local function is_open(q) return q.row >= BREAKER_ROW end

local function pace_seen(q) return q.limits.rpm or math.max(FIRST_RPM, q.sum_r) end

-- So many calls were answered. While the quota is held these are calls that began before: no probe.
local function answered(q, calls, now)
  q.failing = math.max(0, q.failing - calls)
  if q.hold > now or calls == 0 then return end
  if is_open(q) then q.cap = math.max(q.cap, math.floor(q.cap_top / 2)) end
  q.row, q.probe_for = 0, ""
end

-- Returns the hold's length from now. Holds never get shorter.
local function hold_quota(q, now, for_ms, why)
  -- it recovers once it is open again
  if q.cap > 0 then q.cap_at = math.max(q.cap_at, math.max(q.last, now + q.skew) + for_ms) end
  if now + for_ms > q.hold then q.hold, q.why = now + for_ms, why end
  return q.hold - now
end
