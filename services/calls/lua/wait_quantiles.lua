-- Part of find_partner.lua: how long those of a pool and level wait, in `waits`.

-- The quantiles of the waits of a pool and level: logarithms of the median and of 90% (s), and how many have moved them;
-- nil where Redis has none, until a web process has read them from the calls of the last days.
local function waits_of(name)
  if waits[name] == nil then
    local median, p90, count = match(call('GET', '{match}:waits:' .. name) or '', '^(%S+) (%S+) (%S+)$')
    waits[name] = median and {median = tonumber(median), p90 = tonumber(p90), count = tonumber(count)} or false
  end
  return waits[name] or nil
end

-- Move the quantiles towards covering 50% and 90% of the waits, by Robbins and Monro.
local function note_wait(search)
  -- One at the head of the queue is older than its search.
  local known = waits_of(search.place.name)
  if not known or find(search.entry_json, '"atHead":true', 1, true) then return end
  local wait = math.log(max(0.1, (now_us - search.since) / 1000000))
  known.count, known.is_moved, known.words = known.count + 1, true, nil
  local step = max(WAIT_STEP, 1 / known.count)
  known.median = known.median + step * (wait > known.median and 0.5 or -0.5)
  known.p90 = known.p90 + step * (wait > known.p90 and 0.9 or -0.1)
end

local function describe_waits(name)
  local known = waits_of(name)
  if not known then return '' end
  if not known.words then
    known.words = string.format('%.3f %.3f', math.exp(known.median), math.exp(max(known.median, known.p90)))
  end
  return known.words
end
