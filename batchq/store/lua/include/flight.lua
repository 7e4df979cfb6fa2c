-- The entry of an item that has been taken and is not settled, one string in the hash `fl`:
--   lane, shard, ticket ("0": void), attempts, crashes, crashed (ms), undelivered, since (ms), dark (ms), due (ms),
--   owner, nonce, begun ("1": its call is under way), limited, waited (ms), reserve (nano-dollars set aside for its
--   call; not there when 0), history (JSON list; last, for its bars)
-- Leased: owner ~= "". Waiting for a message: owner == "" and ticket ~= "0". Given back: ticket == "0".
local FLIGHT = "^" .. string.rep("([^|]*)|", 15) .. "(.*)$"

local function flight_new(lane, shard)
  return {
    lane = lane, shard = shard, ticket = "0", attempts = 0, crashes = 0, crashed = 0, undelivered = 0, since = 0,
    dark = 0, due = 0, owner = "", nonce = "", begun = "0", limited = 0, waited = 0, reserve = 0,
    history = "[]",
  }
end

local function flight_parse(raw)
  if not raw then return nil end
  local lane, shard, ticket, attempts, crashes, crashed, undelivered, since, dark, due, owner, nonce, begun, limited, waited, history =
    string.match(raw, FLIGHT)
  local reserve, rest = string.match(history, "^(%d+)|(.*)$")
  return {
    lane = lane, shard = shard, ticket = ticket, attempts = tonumber(attempts), crashes = tonumber(crashes),
    crashed = tonumber(crashed), undelivered = tonumber(undelivered), since = tonumber(since), dark = tonumber(dark),
    due = tonumber(due), owner = owner, nonce = nonce, begun = begun, limited = tonumber(limited),
    waited = tonumber(waited), reserve = tonumber(reserve or 0), history = rest or history,
  }
end

local function flight_format(e)
  return table.concat({
    e.lane, e.shard, e.ticket, int(e.attempts), int(e.crashes), int(e.crashed), int(e.undelivered), int(e.since),
    int(e.dark), int(e.due), e.owner, e.nonce, e.begun, int(e.limited), int(e.waited),
    e.reserve > 0 and int(e.reserve) .. "|" .. e.history or e.history,
  }, "|")
end

-- Back to the store: the ticket is void, so that no old message can claim the item while it lies in `back`.
local function flight_void(e, due)
  e.ticket, e.owner, e.nonce, e.begun, e.due, e.reserve = "0", "", "", "0", due, 0
  return e
end
