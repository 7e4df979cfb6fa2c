-- The store's one clock: the server's, so that workers with skewed clocks agree. Tests pass a time of their own.
local function clock_ms(override)
  local given = tonumber(override)
  if given then return given end
  local time = redis.call("TIME")
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Whole numbers as text; tostring() would round a millisecond clock to 1.7e+12.
local function int(number) return string.format("%.0f", number) end
