-- Part of find_partner.lua: of those who wait, whom a search meets.
--
-- What the find asks for beside its search is in `asks`: {avoided, met, only}.

-- The queue of a key: what Redis has is `stored`; answers what came with these finds.
local function open_queue(key)
  if not stored[key] then
    stored[key] = {key = key, read = 0, first = 1, is_whole = false}
    fresh[key] = {key = key, first = 1, is_whole = true}
  end
  return fresh[key]
end

-- The first of a queue whom none of these finds has matched.
local function first_of(queue)
  local head = entry_at(queue, queue.first)
  while head and matched[head[1]] do
    queue.first = queue.first + 1
    head = entry_at(queue, queue.first)
  end
  return head
end

-- The walk of a search over the queues that fit it: {ways, and who was found on them, the oldest first}. Finds that look
-- at the same queues share it.
local function walk_of(me, topic)
  local may_near = may_widen and not me.is_strict and me.place.near[1]
  local has_waited = tonumber(me.since) <= near_since
  local name = (topic == '' and me.place.key or me.topic_key) .. (may_near and (has_waited and '+' or '~') or '')
  local walk = walks[name]
  if walk then return walk end
  walk = {ways = {}}
  walks[name] = walk
  local function add(fitting, latest)
    local key = topic == '' and fitting or fitting .. ':' .. topic
    open_queue(key)
    for _, queue in ipairs({stored[key], fresh[key]}) do
      walk.ways[#walk.ways + 1] = {queue = queue, position = queue.first, latest = latest}
    end
  end
  for _, fitting in ipairs(me.place.fitting) do add(fitting, huge) end
  if may_near then
    -- In the queue of a neighbouring level only those count that have waited for long, unless the user has.
    for _, near in ipairs(me.place.near) do add(near, has_waited and huge or near_since) end
  end
  return walk
end

-- Extend a walk by the next who waits, of all its queues the oldest; nil at the end.
local function extend(walk)
  local ways = walk.ways
  while true do
    local way, entry, since = nil, nil, huge
    for index = 1, #ways do
      local each = ways[index]
      local queue, position = each.queue, each.position
      local head = queue[position] or not queue.is_whole and entry_at(queue, position)
      if head and head[2] < since and head[2] <= each.latest then way, entry, since = each, head, head[2] end
    end
    if not way then return nil end
    way.position = way.position + 1
    local user, queue = entry[1], way.queue
    if not matched[user] then
      local search = searches[user]
      if search and (queue.key == search.place.key or queue.key == search.topic_key) then
        walk[#walk + 1] = search
        return search
      end
      -- The search ran out; its user may have begun another one, which waits elsewhere.
      if not entry.is_stale then gather(leaves, queue.key, user) end
      entry.is_stale = true
    end
  end
end

-- Put a search that came with these finds, at a position of its queue, into the walks that are beyond it.
local function join_walks(queue, position, search)
  local since = tonumber(search.since)
  for _, walk in pairs(walks) do
    for _, way in ipairs(walk.ways) do
      local last = walk[#walk]
      if way.queue == queue and (position < way.position or last and since < tonumber(last.since)) then
        way.position = way.position + 1
        local at = #walk + 1
        while at > 1 and tonumber(walk[at - 1].since) > since do at = at - 1 end
        if since <= way.latest then table.insert(walk, at, search) end
      end
    end
  end
end

-- What Redis knows of a match of two a moment ago: their room, 'refused', or false.
local function met_before(one, other) return call('GET', pair(one, other)) end

-- Read native language and goal of a search, '-' where there is none; most are never asked for theirs.
local function read_words(search)
  search.language, search.goal = match(search.entry_json, '^([^ ]+) ([^"]+)', search.place.words_at)
end

-- The part of a misfit that native languages and goals decide, and how often the two have met in the last days.
local function misfit_of_words(me, other)
  local cost, met = 0, asks.met
  if not me.goal then read_words(me) end
  if not other.goal then read_words(other) end
  if me.language == other.language and me.language ~= '-' then cost = cost + SAME_LANGUAGE end
  if me.goal ~= other.goal and me.goal ~= '-' and other.goal ~= '-' then cost = cost + OTHER_GOAL end
  if met ~= '' then
    local _, at = find(met, other.user, 1, true)
    if at then cost = cost + REPEAT * match(met, '^:(%d+)', at + 1) end
  end
  return cost
end

-- The latest searches of a pool, of the last quarter of an hour, the newest first; most have ended.
local function recent_searches_of(pool)
  if not recents[pool] then
    local found = {}
    recents[pool] = found
    for _, each in ipairs(newcomers[pool] or {}) do table.insert(found, 1, each) end
    for _, each in ipairs(call('LRANGE', '{match}:came:' .. pool, 0, -1)) do
      local at, user, name, features = match(each, '^(%d+) (%S+) (%S+) (.*)$')
      if at and now - at <= RECENT_MS then found[#found + 1] = new_search(user, name, '', features, '', '', now_us) end
    end
  end
  return recents[pool]
end

-- Keep a search that begins with these finds for others to see who comes.
local function note_newcomer(me)
  local pool = me.place.pool
  if recents[pool] then table.insert(recents[pool], 1, me) end
  newcomers[pool] = newcomers[pool] or {}
  table.insert(newcomers[pool], me)
  -- With the features alone, which stand at the beginning of the entry.
  local features = match(me.entry_json, '^{"pool":"[^"]*","fit":"[^"]*"') or ''
  gather(came, '{match}:came:' .. pool, concat({created, me.user, me.place.name, features}, ' '))
end

-- Whether as many of those who searched a moment ago as `enough` says would be a good match: then a search waits for
-- one like them. Where nobody like that comes, as in a small pool whose learners have all met, waiting gains nothing.
local function is_worth_waiting(me)
  local count, seen = 0, {[me.user] = true}
  for index, each in ipairs(recent_searches_of(me.place.pool)) do
    if count >= ENOUGH or index > RECENT then break end
    if not seen[each.user] and me.place.distances[each.place.level] == 0 and not find(asks.avoided, each.user, 1, true) then
      local misfit = LEVEL_GAP * math.abs(each.skill - me.skill) / (me.uncertainty + each.uncertainty)
        + POINTS * math.abs(each.points - me.points)
      if misfit <= GOOD and misfit + misfit_of_words(me, each) <= GOOD then count = count + 1 end
    end
    seen[each.user] = true
  end
  return count >= ENOUGH
end

-- Of those who fit, oldest first, until `left` people have been looked at or those behind cannot fit better: who fits
-- best, who fits best of those beyond the threshold where nobody else does, who was met a moment ago, and how many are left
-- to look at. `is_patient`: nobody is met beyond the threshold, so that of those one is enough, who was not met a moment
-- ago. `is_careful`: ask of each who was met a moment ago, not of those alone who are returned.
local function look(me, topic, left, is_patient, is_careful)
  local user, skill, uncertainty, points, own_limit = me.user, me.skill, me.uncertainty, me.points, me.limit
  local walk, distances, avoided = walk_of(me, topic), me.place.distances, asks.avoided
  local level_gap, point_gap, slack = LEVEL_GAP, POINTS, SLACK
  local best, best_cost, any, any_cost, met = nil, huge, nil, huge, nil
  local index = 1
  while index <= left do
    local search = walk[index] or extend(walk)
    if not search then break end
    if search.is_matched then
      table.remove(walk, index)
    else
      -- Those behind have waited for less, and a misfit is never below 0.
      if best and best_cost <= -search.bonus then break end
      index = index + 1
      local gap, difference, limit = search.skill - skill, search.points - points, search.limit
      if gap < 0 then gap = -gap end
      if difference < 0 then difference = -difference end
      if limit < own_limit then limit = own_limit end
      local misfit = gap * level_gap / (uncertainty + search.uncertainty) + difference * point_gap
      if (misfit <= limit or not (any and is_patient)) and misfit - slack - search.bonus < best_cost
        and search.user ~= user and not (search.is_strict and distances[search.place.level] == 1)
        and not (avoided ~= '' and find(avoided, search.user, 1, true))
        and is_alive(search.worker) then -- a dead process's search is removed by another; or Redis was away
        local known = is_careful and met_before(user, search.user)
        if known then
          -- Two whose match was refused a moment ago would be refused again; two who met wait for another.
          local may_meet = not is_patient or min(me.since, search.since) <= again_since
          if known ~= 'refused' and may_meet then met = met or search end
        else
          misfit = misfit + misfit_of_words(me, search)
          local cost = max(0, misfit - slack) - search.bonus
          if misfit <= limit and cost < best_cost then best, best_cost = search, cost end
          if cost < any_cost then any, any_cost = search, cost end
        end
      end
    end
  end
  if not is_careful then
    local is_doubtful = any
    if best then
      is_doubtful = met_before(user, best.user)
    elseif any and is_patient then
      is_doubtful = min(me.since, walk[1].since) <= again_since and met_before(user, any.user)
    end
    if is_doubtful then return look(me, topic, left, is_patient, true) end
  end
  return best, any, met, left - index + 1
end

local function fits_level(me, search)
  local distance = me.place.distances[search.place.level]
  local has_waited = may_widen and min(me.since, search.since) <= near_since
  return distance == 0 or distance == 1 and has_waited and not me.is_strict and not search.is_strict
end

-- The longest-waiting of some users who search in any pool of the band.
local function oldest_among(me)
  local users, best, met = {}, nil, nil
  for user in string.gmatch(asks.only, '%S+') do users[#users + 1] = user end
  read_searches(users)
  for _, user in ipairs(users) do
    local search = searches[user]
    if search and not matched[user] and user ~= me.user and search.place.band == me.place.band and fits_level(me, search)
      and not find(asks.avoided, user, 1, true) and is_alive(search.worker) then
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

local function partner_of(me)
  if asks.only ~= '' then return oldest_among(me) end
  local walk, near = walk_of(me, ''), me.topic ~= '' and walk_of(me, me.topic)
  if not (near and (near[1] or extend(near)) or walk[1] or extend(walk)) then return nil end
  local is_patient = is_worth_waiting(me)
  local best, any, met, left = nil, nil, nil, WINDOW
  if me.topic ~= '' then
    best, any, met, left = look(me, me.topic, left, is_patient)
    if best then return best end
  end
  local other, other_any, other_met = look(me, '', left, is_patient)
  if other then return other end
  any = any or other_any
  if any then return not is_patient and any or nil end
  return met or other_met
end
