-- Part of find_partner.lua: of those who wait, whom a search meets.
--
-- A search has {user, place, topic, topic_key, entry_json, fit} and, where it waits, {socket, since}. That of a find has
-- also {began (µs), avoided, met, only}.

local function open_queue(key)
  if not stored[key] then
    stored[key] = {key = key, read = 0, first = 1, is_whole = false}
    fresh[key] = {key = key, first = 1, is_whole = true}
  end
end

local function queues_of(me, topic)
  local name = topic == '' and me.place.key or me.topic_key
  local queues = walked[name]
  if not queues then
    queues = {}
    walked[name] = queues
    for _, keys in ipairs({me.place.fitting, me.place.near}) do
      for _, fitting in ipairs(keys) do
        local key = topic == '' and fitting or fitting .. ':' .. topic
        open_queue(key)
        queues[#queues + 1] = {queue = stored[key], is_near = keys == me.place.near}
        queues[#queues + 1] = {queue = fresh[key], is_near = keys == me.place.near}
      end
    end
  end
  return queues
end

-- The queues in which a search looks now, each with the position and the entry at which it begins.
local function open_queues(me, topic)
  local ways = {}
  for _, each in ipairs(queues_of(me, topic)) do
    if not each.is_near or (may_widen and not me.fit.is_strict) then
      local queue = each.queue
      local head = entry_at(queue, queue.first)
      while head and matched[head[1]] do
        queue.first = queue.first + 1
        head = entry_at(queue, queue.first)
      end
      -- In the queue of a neighbouring level only those count that have waited for long, unless the user has.
      local latest = each.is_near and me.began > near_since and near_since or math.huge
      if head and head[2] <= latest then
        ways[#ways + 1] = {queue = queue, position = queue.first, head = head, latest = latest, is_near = each.is_near}
      end
    end
  end
  return ways
end

local function misfit_of(one, other)
  local cost = LEVEL_GAP * math.abs(one.skill - other.skill) / (one.uncertainty + other.uncertainty)
    + POINTS * math.abs(one.points - other.points) - SLACK
  if one.language == other.language and one.language ~= '-' then cost = cost + SAME_LANGUAGE end
  if one.goal ~= other.goal and one.goal ~= '-' and other.goal ~= '-' then cost = cost + OTHER_GOAL end
  return cost
end

-- The cost of what the two have met in the last days.
local function repeats_of(me, other)
  local _, at = find(me.met, other, 1, true)
  return at and REPEAT * match(me.met, '^:(%d+)', at + 1) or 0
end

-- What Redis knows of a match of two a moment ago: their room, 'refused', or false.
local function met_before(one, other) return call('GET', pair(one, other)) end

-- Walk the queues that fit a search as one, oldest first, until `left` people have been looked at, or those behind cannot
-- fit better. Answers who fits best, who fits best of those beyond the threshold, how many fit, who was met a moment ago,
-- and how many are left to look at. `is_careful`: ask of each who was met a moment ago, not of the best alone.
local function look(me, topic, left, is_careful)
  local user, began, before = me.user, me.began, left
  local ways = open_queues(me, topic)
  local best, best_cost, any, any_cost, count, met = nil, math.huge, nil, math.huge, 0, nil
  while left > 0 do
    local way, since = nil, math.huge
    for index = 1, #ways do
      local each = ways[index]
      if each.head and each.head[2] < since then way, since = each, each.head[2] end
    end
    if not way then break end
    local bonus = (now_us - since) / 1000000 * WAIT_BONUS + (since <= leaving_since and FIRST or 0)
    -- Those behind have waited for less, and a misfit is never below 0.
    if best_cost <= -bonus then break end
    local entry, queue = way.head, way.queue
    local found = entry[1]
    if matched[found] or entry.is_stale then
      table.remove(queue, way.position)
    else
      way.position = way.position + 1
      left = left - 1
      local search = searches[found]
      if not search or (queue.key ~= search.place.key and queue.key ~= search.topic_key) then
        -- The search ran out; its user may have begun another one, which waits elsewhere.
        entry.is_stale = true
        gather(leaves, queue.key, found)
      elseif found ~= user and not (way.is_near and search.fit.is_strict) then
        local misfit = misfit_of(me.fit, search.fit)
        if (misfit - bonus < best_cost or count < ENOUGH) and not (me.avoided ~= '' and find(me.avoided, found, 1, true))
          and is_alive(search.socket) then -- a dead process's search is removed by another; or Redis was away
          local known = is_careful and met_before(user, found)
          if known then
            -- Two whose match was refused a moment ago would be refused again.
            if known ~= 'refused' then met = met or search end
          else
            count = count + 1
            misfit = math.max(0, misfit + (me.met ~= '' and repeats_of(me, found) or 0))
            local oldest = math.min(began, since)
            local is_good = oldest <= leaving_since or misfit <= THRESHOLD + GROWTH * (now_us - oldest) / 1000000
            if is_good and misfit - bonus < best_cost then best, best_cost = search, misfit - bonus end
            if misfit - bonus < any_cost then any, any_cost = search, misfit - bonus end
          end
        end
      end
    end
    way.head = entry_at(queue, way.position)
    if way.head and way.head[2] > way.latest then way.head = nil end
  end
  local chosen = best or any
  if chosen and not is_careful and met_before(user, chosen.user) then return look(me, topic, before, true) end
  return best, any, count, met, left
end

local function fits_level(me, search)
  local distance = me.place.distances[search.place.level]
  local has_waited = may_widen and math.min(me.began, search.since) <= near_since
  return distance == 0 or distance == 1 and has_waited and not me.fit.is_strict and not search.fit.is_strict
end

-- The longest-waiting of some users who search in any pool of the band.
local function oldest_among(me)
  local users, best, met = {}, nil, nil
  for user in string.gmatch(me.only, '%S+') do users[#users + 1] = user end
  read_searches(users)
  for _, user in ipairs(users) do
    local search = searches[user]
    if search and not matched[user] and user ~= me.user and search.place.band == me.place.band and fits_level(me, search)
      and not find(me.avoided, user, 1, true) and is_alive(search.socket) then
      local known = met_before(me.user, user)
      if not known then
        if not best or tonumber(search.since) < tonumber(best.since) then best = search end
      elseif known ~= 'refused' then
        met = met or search
      end
    end
  end
  return best or met
end

-- How many matches a pool and level had in this minute and the one before.
local function rate_of(name)
  if not rates[name] then
    local rate = '{match}:rate:' .. name .. ':'
    rates[name] = 0
    for _, each in ipairs(call('MGET', rate .. minute, rate .. minute - 1)) do rates[name] = rates[name] + (each or 0) end
  end
  return rates[name] + (made[name] or 0)
end

local function partner_of(me)
  if me.only ~= '' then return oldest_among(me) end
  local best, any, met, left, _ = nil, nil, nil, WINDOW, nil
  if me.topic ~= '' then
    best, any, _, met, left = look(me, me.topic, left)
    if best then return best end
  end
  local other, other_any, count, other_met = look(me, '', left)
  if other then return other end
  any = any or other_any
  if any then return count + rate_of(me.place.name) < ENOUGH and any or nil end
  return met or other_met
end
