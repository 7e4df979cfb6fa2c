-- draw.lua: draw permits that every one of some quotas allows, each a slot in time; charged to all or to none.
-- core/permits.py and core/quota.py say what is counted and why; this script equals them to the last permit.
--
-- KEYS[1..] quota, slots of each quota
--   quota  HASH  limits, hold, clock, pace; r<n>, t<n>: requests and tokens whose slot lies in tenth second n
--   slots  HASH  incarnation -> calls in flight
-- ARGV[1]  now         test clock in ms, "" for the server's
-- ARGV[2]  epoch       of the server, for tests; "" for its run id
-- ARGV[3]  owner       incarnation that draws
-- ARGV[4]  ahead_ms    how far ahead of now a slot may lie
-- ARGV[5]  day_ends    Pacific midnights around now, in order: "ms,ms,ms"
-- ARGV[6]  costs       input tokens of each wanted permit: "n,n,…"; "" for none wanted
-- ARGV[7]  freed       calls in flight that ended
-- ARGV[8]  succeeded   calls answered since the last draw
-- ARGV[9]  sizes       requests that the provider counts for each wanted permit: "n,n,…"; "" for one each
-- ARGV[10] gate        which of the owner's gates draws
-- ARGV[11..] for each quota: conf, conf_at, corrections, expected
--   conf         limits as this owner's settings have them: "rpm,tpm,rpd,concurrency,learns", - for none
--   conf_at      when the owner began; the latest beginner's settings hold
--   corrections  of former permits: "bucket:requests:tokens,…"
--   expected     what the quota's clock should show, by the owner's own; "" at its first draw
--
-- Returns  {wait_ms, binding, bound, limit, rpm, clocks, slot (ms ahead), …}   fewer slots than wanted: ask again
--          after wait_ms; binding says for what and bound of which quota (from 0); limit is of too_large; clocks
--          ("ms,ms") are the quotas' own, from which the buckets of their slots count
--- include clock
--- include quota
local now, epoch, owner, ahead = clock_ms(ARGV[1]), ARGV[2], ARGV[3], tonumber(ARGV[4])
local freed, succeeded, place = tonumber(ARGV[7]), tonumber(ARGV[8]), ARGV[3] .. " " .. ARGV[10]
local FIRST, WIDTH = 11, 4
if epoch == "" then epoch = string.match(redis.call("INFO", "server"), "run_id:(%w+)") or "?" end

local function numbers(text)
  local found = {}
  for part in string.gmatch(text, "%d+") do found[#found + 1] = tonumber(part) end
  return found
end
local day_ends, costs, sizes = numbers(ARGV[5]), numbers(ARGV[6]), numbers(ARGV[9])
local day_began = 0
for _, at in ipairs(day_ends) do if at <= now then day_began = math.max(day_began, at) end end

-- -- the ring -------------------------------------------------------------------------------------------------

local function load_chunk(q, bucket)
  local names = {}
  for b = bucket, bucket + CHUNK - 1 do
    names[#names + 1] = "r" .. int(b)
    names[#names + 1] = "t" .. int(b)
  end
  local values = redis.call("HMGET", q.key, unpack(names))
  for i = 1, CHUNK do
    local b = bucket + i - 1
    if q.r[b] == nil then
      q.r[b], q.t[b] = tonumber(values[2 * i - 1] or 0), tonumber(values[2 * i] or 0)
      q.there[b] = values[2 * i - 1] and true or false
    end
  end
end

local function requests_in(q, b)
  if q.r[b] == nil then load_chunk(q, b) end
  return q.r[b]
end

local function tokens_in(q, b)
  if q.t[b] == nil then load_chunk(q, b) end
  return q.t[b]
end

local function add(q, b, requests, tokens)
  q.r[b], q.t[b] = requests_in(q, b) + requests, tokens_in(q, b) + tokens
  q.sum_r, q.sum_t = q.sum_r + requests, q.sum_t + tokens
  q.changed[b], q.there[b] = true, true
end

local function expire(q, oldest)
  for b = q.tail, math.min(oldest, q.tail + RING) - 1 do
    q.sum_r, q.sum_t = q.sum_r - requests_in(q, b), q.sum_t - tokens_in(q, b)
    if q.there[b] then
      q.gone[#q.gone + 1] = "r" .. int(b)
      q.gone[#q.gone + 1] = "t" .. int(b)
    end
    q.r[b], q.t[b], q.there[b], q.changed[b] = 0, 0, false, nil
  end
  q.tail = math.max(q.tail, oldest)
end

-- -- bringing an account to now -------------------------------------------------------------------------------

local function configure(q, conf, conf_at)
  if q.conf_at and conf_at < q.conf_at then return end
  local flat, parts, changed = { "conf_at", int(conf_at) }, {}, false
  for part in string.gmatch(conf, "[^,]+") do parts[#parts + 1] = part end
  for i, name in ipairs(DIMENSIONS) do
    local value = tonumber(parts[i])
    if value ~= q["conf_" .. name] then
      changed, q["conf_" .. name] = true, value
      if value then
        flat[#flat + 1] = "conf_" .. name
        flat[#flat + 1] = int(value)
      else
        redis.call("HDEL", q.key, "conf_" .. name)
      end
    end
  end
  if q.learns ~= parts[5] then
    q.learns = parts[5]
    flat[#flat + 1] = "learns"
    flat[#flat + 1] = parts[5]
  end
  if changed then -- other settings, other beliefs
    redis.call("HDEL", q.key, "learnt_rpm", "learnt_tpm", "learnt_rpd")
    q.learnt_rpm, q.learnt_tpm, q.learnt_rpd = nil, nil, nil
  end
  if q.conf_at ~= conf_at or #flat > 2 then redis.call("HSET", q.key, unpack(flat)) end
  q.conf_at = conf_at
  q.limits = limits_in_force(q)
end

local function recover(q)
  local steps = math.floor((q.last - q.cap_at) / 1000)
  if q.cap == 0 or steps <= 0 then return end
  q.cap = q.cap + steps * math.max(1, math.floor(q.cap_top / RECOVERY_SHARE))
  q.cap_at = q.cap_at + steps * 1000
  if q.cap >= (q.limits.rpm or 2 * q.cap_top) then q.cap, q.cap_top = 0, 0 end
end

local function begin(q, expected)
  local clock = now + q.skew
  if q.epoch == "" then
    q.born, q.tail = clock, math.floor((clock - SPAN_MS) / BUCKET_MS)
  elseif clock < q.last then
    q.skew = q.skew + q.last - clock -- the server's clock stepped back: ours stands still
  elseif expected and clock > expected + CLOCK_SLACK_MS then
    q.skew = q.skew - (clock - math.max(q.last, expected)) -- forward: the caller knows better
  end
  clock = now + q.skew
  q.last = clock
  expire(q, math.floor((clock - SPAN_MS) / BUCKET_MS))
  if q.epoch ~= "" and q.epoch ~= epoch then -- what a fail-over may have lost
    local rpm, tpm = q.limits.rpm or 0, q.limits.tpm or 0
    add(q, math.floor(clock / BUCKET_MS), math.floor((rpm + 59) / 60), math.floor((tpm + 59) / 60))
  end
  q.epoch = epoch
  if now >= q.day or now < q.day - 172800000 then
    q.of_day, q.day = 0, NO_DAY_MS
    for i = #day_ends, 1, -1 do if day_ends[i] > now then q.day = day_ends[i] end end
  end
end

local function correct(q, corrections)
  for bucket, requests, tokens in string.gmatch(corrections, "(%d+):(-?%d+):(-?%d+)") do
    bucket = tonumber(bucket)
    if bucket >= q.tail then
      requests = math.max(tonumber(requests), -requests_in(q, bucket))
      tokens = math.max(tonumber(tokens), -tokens_in(q, bucket))
      add(q, bucket, requests, tokens)
      if bucket * BUCKET_MS - q.skew >= day_began then q.of_day = math.max(0, q.of_day + requests) end
    end
  end
end

-- -- whether, and when ----------------------------------------------------------------------------------------

local NO_LIMIT = 1073741824

-- Requests that the day has left. A call larger than a day's has the day to itself.
local function day_left(q)
  if not q.limits.rpd or q.of_day == 0 then return NO_LIMIT end
  return q.limits.rpd - q.of_day
end

-- How long nothing goes, for what, and else how many calls may go at once. `size` is of the first, in requests.
local function blocked(q, size)
  local room = NO_LIMIT
  if q.paused ~= "" then return 1000, "paused", 0 end
  if q.hold > now then return q.hold - now, q.why ~= "" and q.why or "hold", 0 end
  if day_left(q) < size then return q.day - now, "requests_per_day", 0 end
  if q.res_for ~= "" and q.res_for ~= place and q.res_until > q.last then return POLL_MS, "reserved", 0 end
  if q.limits.conc then
    local flying = 0
    for _, n in ipairs(redis.call("HVALS", q.slots)) do flying = flying + tonumber(n) end
    room = math.min(room, q.limits.conc - flying)
    if room <= 0 then return POLL_MS, "concurrency", 0 end
  end
  if is_open(q) then
    if q.probe_for ~= "" and q.probe_until > q.last then return POLL_MS, "probe", 0 end
    room = math.min(room, 1)
  end
  return 0, "", room
end

-- Requests a minute of the pace in force; 0: none.
local function pace_rpm(q)
  local pace = q.limits.rpm or 0
  if pace == 0 and q.learns == "1" then pace = FIRST_RPM + GROWTH * q.sum_r end
  if q.cap > 0 and (pace == 0 or q.cap < pace) then pace = q.cap end
  return pace
end

-- The first slot from ahead_us on: µs ahead, what bound it, and the oldest bucket that counts there.
local function earliest(q, size, tokens, ahead_us)
  local at_us, binding = q.last * 1000 + ahead_us, ""
  if q.next > at_us then at_us, binding = q.next, "requests_per_minute" end
  local tail, sum_r, sum_t = q.tail, q.sum_r, q.sum_t
  while true do
    local oldest = math.floor((math.floor(at_us / 1000) - SPAN_MS) / BUCKET_MS)
    for b = tail, math.min(oldest, tail + RING) - 1 do
      sum_r, sum_t = sum_r - requests_in(q, b), sum_t - tokens_in(q, b)
    end
    tail = math.max(tail, oldest)
    local amount
    if q.limits.rpm and sum_r > 0 and sum_r + size > q.limits.rpm then
      binding, amount = "requests_per_minute", requests_in
    elseif q.limits.tpm and sum_t + tokens > q.limits.tpm then
      binding, amount = "tokens_per_minute", tokens_in
    else
      return at_us - q.last * 1000, binding, tail
    end
    local first = tail
    while amount(q, first) == 0 do first = first + 1 end
    at_us = ((first + 1) * BUCKET_MS + SPAN_MS) * 1000
  end
end

local function gap_us(q, size, tokens)
  local fast = q.last - q.born < SPAN_MS and SLOW or FAST
  local pace, gap = pace_rpm(q), 0
  if pace > 0 and pace == q.limits.rpm then
    gap = math.floor(size * MINUTE_US * fast / (pace * SLOW))
  elseif pace > 0 then
    gap = math.floor(size * MINUTE_US / pace)
  end
  if q.limits.tpm then
    gap = math.max(gap, math.floor(math.floor(tokens * MINUTE_US / q.limits.tpm) * fast / SLOW))
  end
  return gap
end

local function take_slot(q, size, tokens, ahead_us, tail)
  expire(q, tail)
  local at_us = q.last * 1000 + ahead_us
  add(q, math.floor(math.floor(at_us / 1000) / BUCKET_MS), size, tokens)
  q.of_day = q.of_day + size
  q.next = at_us + gap_us(q, size, tokens)
  if is_open(q) then q.probe_for, q.probe_until = owner, q.last + PROBE_MS end
  if q.res_for == place then q.res_for = "" end
end

-- A large call is not passed over by small ones: what comes free is kept for it while its gate asks.
local function reserve(q, why, size, tokens)
  local large = size > 1
  if why == "tokens_per_minute" then
    large = tokens * LARGE_SHARE > (q.limits.tpm or 0) or tokens * q.sum_r > LARGER * q.sum_t
  end
  if large then q.res_for, q.res_until = place, q.last + RESERVED_MS end
end

-- -- the draw -------------------------------------------------------------------------------------------------

local quotas, clocks, rpm = {}, {}, 0
for i = 1, #KEYS / 2 do
  local q = quota_open(KEYS[2 * i - 1])
  q.slots = KEYS[2 * i]
  local at = FIRST + (i - 1) * WIDTH
  configure(q, ARGV[at], tonumber(ARGV[at + 1]))
  begin(q, tonumber(ARGV[at + 3]))
  answered(q, succeeded, now)
  recover(q)
  if freed > 0 then
    if redis.call("HINCRBY", q.slots, owner, -freed) <= 0 then redis.call("HDEL", q.slots, owner) end
    if q.probe_for == owner then q.probe_for = "" end -- answered or not: it may have been the probe
  end
  correct(q, ARGV[at + 2])
  local pace = pace_rpm(q)
  if pace > 0 and (rpm == 0 or pace < rpm) then rpm = pace end
  quotas[i], clocks[i] = q, int(q.last)
end

local wait, binding, bound, limit, slots = 0, "", 0, 0, {}
local room = #costs
for i, q in ipairs(quotas) do
  local longer, why, most = blocked(q, sizes[1] or 1)
  room = math.min(room, most)
  if longer > wait then wait, binding, bound = longer, why, i - 1 end
end

for n = 1, wait == 0 and room or 0 do
  local tokens, size, large, day_over = costs[n], sizes[n] or 1, nil, false
  for i, q in ipairs(quotas) do
    if #slots > 0 and day_left(q) < size then day_over = true end
    if not large and q.limits.tpm and tokens > q.limits.tpm then large = i end
  end
  if day_over then break end -- the next draw says so
  if large then
    if #slots == 0 then binding, bound, limit = "too_large", large - 1, quotas[large].limits.tpm end
    break
  end
  local ahead_us, tails, before, why, by = 0, {}, -1, "", 0
  while ahead_us ~= before do -- each may push it further, until none does
    before = ahead_us
    for i, q in ipairs(quotas) do
      local at_us, reason, tail = earliest(q, size, tokens, ahead_us)
      tails[i] = tail
      if at_us > ahead_us then ahead_us, why, by = at_us, reason, i - 1 end
    end
  end
  local ahead_ms = math.floor(ahead_us / 1000)
  if ahead_ms > ahead then
    wait, binding, bound = ahead_ms - ahead, why, by
    if #slots == 0 then reserve(quotas[by + 1], why, size, tokens) end -- else it is another's turn
    break
  end
  for i, q in ipairs(quotas) do take_slot(q, size, tokens, ahead_us, tails[i]) end
  slots[#slots + 1] = ahead_ms
end

for _, q in ipairs(quotas) do
  quota_save(q)
  if #slots > 0 then
    redis.call("HINCRBY", q.slots, owner, #slots)
    redis.call("PEXPIRE", q.slots, KEEP_MS)
  end
end
return { wait, binding, bound, limit, int(rpm), table.concat(clocks, ","), unpack(slots) }
