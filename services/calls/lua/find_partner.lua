-- For each of several users, one after another: take the partner who fits best, or join the queue. One step, so that
-- nobody is matched twice.
--
-- KEYS[1] {match}:due
-- ARGV    search ms, join ms, room seconds, weights (services/calls/fit.py); then of each find: user, pool and level (a
--         colon between), topic ('' for none), socket, queue entry, room id, session id, position: '' for the end of the
--         queue, 'head', or since when (µs); users whom the user must not meet (ids, a space between), those met in the
--         last days ({id}:{times}, a space between), those among whom the partner must be ('' for anyone of the pool), and
--         1 for a search that is in the queue, and stays where it is when nobody fits
-- returns of each find {'already_searching'} | {'already_in_room'} | {'not_searching'}
--         | {'waiting', since (µs), waited ms, median and 90% quantile of waits (s, a space between; '' where unknown)}
--         | {'matched', partner's queue entry, since when they waited (µs), level, topic, how long (ms), how long the user
--           had waited (ms, -1 for a new search), 1 where the two searched neighbouring levels}
--
-- A search is stored as its level, topic, socket and beginning, a line each, and the queue entry, of which this script
-- reads the pool and the features, at its beginning. A queue has searches of one pool, so no find sees another. Calls are
-- what a script costs: it reads once what several finds look at, writes together what may be written together, and a
-- search that meets its partner among these finds is never written at all.

local call, concat = redis.call, table.concat
local byte, find, match, sub = string.byte, string.find, string.match, string.sub
local floor, huge, max, min = math.floor, math.huge, math.max, math.min
local search_ms, join_ms, room_seconds = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local FIND = 12
local COUNT = (#ARGV - 4) / FIND

local weights = {}
for number in string.gmatch(ARGV[4], '%S+') do weights[#weights + 1] = tonumber(number) end
local LEVEL_GAP, REPEAT, SAME_LANGUAGE, OTHER_GOAL, POINTS, SLACK = unpack(weights)
local WAIT_BONUS, THRESHOLD, GROWTH, ENOUGH, LEAVING, NEIGHBOUR, AGAIN, GOOD = unpack(weights, 7)
-- What those about to leave come first by.
local FIRST = 1e6
-- How many of those waiting one search looks at.
local WINDOW = 64
local FITTING = {
  all = {'all', 'beginner', 'intermediate', 'advanced'},
  beginner = {'beginner', 'all'}, intermediate = {'intermediate', 'all'}, advanced = {'advanced', 'all'},
  -- The accounts of the stores' review teams (review_pool.py).
  review = {'review'},
}
-- Levels that fit after a wait of one of the two.
local NEAR = {beginner = {'intermediate'}, intermediate = {'beginner', 'advanced'}, advanced = {'intermediate'}}
-- Beta of openskill, and the skill (mu, sigma) of a search of a release before this one.
local BETA, SKILL, SIGMA = 25 / 6, 25, 25 / 3
-- The latest searches of a pool that are kept, and for how long (ms): from them it is seen who else may come.
local RECENT, RECENT_MS = 32, 900000
-- The least step of the quantiles of waits, as a part of their logarithms, and for how long they are kept (s).
local WAIT_STEP, WAITS_KEPT = 0.1, 604800

-- Redis's clock: those of the servers may differ.
local clock = call('TIME')
local now_us = clock[1] * 1000000 + clock[2]
local now = floor(now_us / 1000)
-- Times (ms), written out once; keys expire at a time, which is how Redis writes it down in the end.
local created, room_until = string.format('%.0f', now), string.format('%.0f', now + (room_seconds + 60) * 1000)
local join_by, search_by = string.format('%.0f', now + join_ms), string.format('%.0f', now + search_ms)
-- A little longer than the search, so that its end still finds the socket to emit to.
local search_until = string.format('%.0f', now + search_ms + 5000)
local may_widen = NEIGHBOUR * 1000 < search_ms
-- Since when searches wait that are about to leave, and those that neighbouring levels may meet (µs).
local leaving_since, near_since = now_us - search_ms * 1000 + LEAVING * 1000000, now_us - NEIGHBOUR * 1000000
-- Since when searches wait that may meet again whom they met a moment ago, where nobody else fits (µs).
local again_since = now_us - AGAIN * 1000000

-- The queue of a pool and level: its key, and in the same pool the keys of those that fit it, and that do after a wait.
-- Made once for each.
local places = {}
local function place_of(name)
  local place = places[name]
  if not place then
    local pool, level = match(name, '^([^:]+):(%a+)$')
    local prefix = '{match}:queue:' .. pool .. ':'
    place = {name = name, pool = pool, level = level, key = prefix .. level, fitting = {}, near = {}, distances = {}}
    place.words_at = #pool + 37
    place.band = match(pool, '^(.-)_partners$') or match(pool, '^(.-)_course_%x+$') or pool
    -- A search of a later release may have a level that is not known here.
    for index, fitting in ipairs(FITTING[level] or {}) do
      place.fitting[index], place.distances[fitting] = prefix .. fitting, 0
    end
    for index, near in ipairs(NEAR[level] or {}) do
      place.near[index], place.distances[near] = prefix .. near, 1
    end
    places[name] = place
  end
  return place
end

-- The misfit up to which a search that began then (µs) is matched.
local function limit_of(began)
  if began <= leaving_since then return huge end
  local waited = (now_us - began) / 1000000
  return THRESHOLD + GROWTH * waited * waited
end

-- What a search that began then (µs) is preferred by.
local function bonus_of(began)
  return (now_us - began) / 1000000 * WAIT_BONUS + (began <= leaving_since and FIRST or 0)
end

-- A search, as a queue entry describes it, that began then (µs). Its features are read byte by byte, which makes no strings:
-- reading them otherwise costs as much as the rest of a find. Few fields, for a table of more than 16 costs twice as much.
local function new_search(user, name, topic, entry_json, socket, worker, since)
  local place, began = place_of(name), tonumber(since)
  local search = {
    user = user, place = place, topic = topic, entry_json = entry_json, socket = socket, worker = worker, since = since,
    bonus = bonus_of(began), limit = limit_of(began),
    skill = SKILL, uncertainty = (BETA + SIGMA) / 2, points = 0, is_strict = false,
  }
  if topic ~= '' then search.topic_key = place.key .. ':' .. topic end
  local at = #place.pool + 19
  if sub(entry_json, at - 9, at - 1) == '","fit":"' then
    -- Hundredths of mu, points and sigma, whether it is strict, and two words: '02500 0000 0833 0 de travel'.
    local a, b, c, d, e, _, f, g, h, i, _, j, k, l, m, _, strict = byte(entry_json, at, at + 16)
    search.skill = (a * 10000 + b * 1000 + c * 100 + d * 10 + e - 533328) / 100
    search.points = (f * 1000 + g * 100 + h * 10 + i - 53328) / 100
    search.uncertainty = (BETA + (j * 1000 + k * 100 + l * 10 + m - 53328) / 100) / 2
    search.is_strict = strict == 49
  else
    search.language, search.goal = '-', '-'
  end
  return search
end

local function pair(one, other)
  if one < other then return '{match}:recent:' .. one .. ':' .. other end
  return '{match}:recent:' .. other .. ':' .. one
end

-- Arguments of one call for each key, gathered to be written at once.
local function gather(into, key, one, other)
  local gathered = into[key]
  if not gathered then
    gathered = {key}
    into[key] = gathered
  end
  gathered[#gathered + 1] = one
  if other then gathered[#gathered + 1] = other end
end

local function give(command, gathered)
  for _, arguments in pairs(gathered) do call(command, unpack(arguments)) end
end

-- What is known of users: those matched here, and the searches of those seen here (false where there is none).
local matched, searches = {}, {}
-- Of each queue: who waits in Redis, as far as it was read, and who came with these finds; the oldest first.
local stored, fresh = {}, {}
-- What finds walk: those who wait, in the order of their wait, by the queue in which the find would wait.
local walks = {}
local workers, waits = {}, {}
-- The latest searches of pools, and those of these finds.
local recents, newcomers = {}, {}
-- What the find that runs asks for beside its search.
local asks = {}
-- What is written at the end.
local leaves, joins, pools, came, deletes, drops, deadlines = {}, {}, {}, {}, {}, {KEYS[1]}, {KEYS[1]}

-- Read the searches of users of whom nothing is known yet.
local function read_searches(users)
  local keys, wanted = {}, {}
  for _, user in ipairs(users) do
    if searches[user] == nil then
      searches[user] = false
      wanted[#wanted + 1], keys[#keys + 1] = user, '{match}:searching:' .. user
    end
  end
  if #keys == 0 then return end
  for index, held in ipairs(call('MGET', unpack(keys))) do
    if held then
      -- One without a pool is of a release before this one, and in a queue of its own.
      local level, topic, socket, worker, since, at, pool =
        match(held, '^(%a+)\n([^\n]*)\n(([^\n.]*)[^\n]*)\n(%d+)\n(){"pool":"([%w_]+)"')
      if level then
        searches[wanted[index]] =
          new_search(wanted[index], pool .. ':' .. level, topic, sub(held, at), socket, worker, since)
      end
    end
  end
end

local function is_alive(worker)
  if workers[worker] == nil then workers[worker] = call('EXISTS', 'worker:{match}:' .. worker) == 1 end
  return workers[worker]
end

-- The entry at a position of a queue, {user, since (µs)}; nil behind its end.
local function entry_at(queue, position)
  while queue[position] == nil and not queue.is_whole do
    -- One first, for it mostly does; then by the eight.
    local page = queue.read == 0 and COUNT or 8
    local found, users = call('ZRANGE', queue.key, queue.read, queue.read + page - 1, 'WITHSCORES'), {}
    for index = 1, #found, 2 do
      queue[#queue + 1] = {found[index], tonumber(found[index + 1])}
      users[#users + 1] = found[index]
    end
    read_searches(users)
    queue.read = queue.read + page
    queue.is_whole = #found < 2 * page
  end
  return queue[position]
end

-- include partner_choice.lua
-- include wait_quantiles.lua

-- Take a search out of its queue; one that came with these finds is in none.
local function take_out(search)
  local user = search.user
  matched[user], search.is_matched = true, true
  note_wait(search)
  if search.is_new then return end
  drops[#drops + 1] = 'search:' .. user
  deletes[#deletes + 1] = '{match}:searching:' .. user
  gather(leaves, search.place.key, user)
  if search.topic_key then gather(leaves, search.topic_key, user) end
end

-- `mine` is the search of the user where it waited until now.
local function make_room(room, session, partner, me, mine)
  local other, user = partner.user, me.user
  take_out(partner)
  if mine then take_out(mine) end
  matched[user] = true
  local own, theirs = me.place, partner.place
  local level = own.level == 'all' and theirs.level or own.level
  local topic = me.topic == '' and partner.topic or me.topic
  local users, meta = '{match}:room:' .. room .. ':users', '{match}:room:' .. room .. ':meta'
  call('SADD', users, other, user)
  call('PEXPIREAT', users, room_until)
  call('HSET', meta, 'createdAt', created, 'topic', topic, 'level', level, 'sessionId', session,
    'userAId', other, 'userBId', user)
  call('PEXPIREAT', meta, room_until)
  -- The queue entries are not in the room's hash, which such long values would make slow.
  call('SET', '{match}:in_room:' .. other, room .. '\n' .. partner.entry_json, 'PXAT', room_until)
  call('SET', '{match}:in_room:' .. user, room .. '\n' .. me.entry_json, 'PXAT', room_until)
  deadlines[#deadlines + 1], deadlines[#deadlines + 2] = join_by, 'join:' .. room
  local waited = max(0, floor((now_us - partner.since) / 1000))
  local own_wait = mine and max(0, floor((now_us - mine.since) / 1000)) or -1
  local is_widened = own.distances[theirs.level] == 1 and 1 or 0
  return {'matched', partner.entry_json, partner.since, level, topic, waited, own_wait, is_widened}
end

-- Wait among these finds; a search that none of them has matched is written at the end.
local function wait(me, position, index)
  -- A microsecond apart: equals would stand by their ids.
  local since = tonumber(position) or now_us + index
  local general = open_queue(me.place.key)
  if position == 'head' then
    for _, queue in ipairs({stored[me.place.key], general}) do
      local head = first_of(queue)
      if head then since = min(since, head[2] - 1) end
    end
  end
  me.since, me.worker, me.is_new = string.format('%.0f', since), match(me.socket, '^[^.]*'), true
  me.bonus, me.limit = bonus_of(since), limit_of(since)
  searches[me.user] = me
  for _, queue in ipairs({general, me.topic_key and open_queue(me.topic_key) or nil}) do
    local at = #queue + 1
    while at > queue.first and queue[at - 1][2] > since do at = at - 1 end
    table.insert(queue, at, {me.user, since})
    join_walks(queue, at, me)
  end
end

local answers, waiting = {}, {}
for index = 1, COUNT do
  local at = 5 + (index - 1) * FIND
  local user, name, topic, socket, entry_json, room, session, position, avoided, met, only, is_retry =
    unpack(ARGV, at, at + FIND - 1)
  local busy, mine = matched[user] and 'already_in_room', nil
  if is_retry == '1' and not busy then
    read_searches({user})
    mine = searches[user]
    -- A search that has changed, or is of another device, is not the one that is to be tried again.
    if not mine or mine.socket ~= socket or mine.place.name ~= name or mine.topic ~= topic then busy = 'not_searching' end
  elseif not busy then
    busy = searches[user] and searches[user].is_new and 'already_searching'
    if not busy and call('EXISTS', '{match}:searching:' .. user, '{match}:in_room:' .. user) > 0 then
      busy = call('EXISTS', '{match}:in_room:' .. user) == 1 and 'already_in_room' or 'already_searching'
    end
  end
  if busy then
    answers[index] = {busy}
  else
    local since = mine and mine.since or tonumber(position) or now_us
    local me = new_search(user, name, topic, entry_json, socket, nil, since)
    asks.avoided, asks.met, asks.only = avoided, met, only
    local partner = partner_of(me)
    if not mine and only == '' then note_newcomer(me) end
    if partner then
      answers[index] = make_room(room, session, partner, me, mine)
    elseif mine then
      answers[index] = {'waiting', mine.since, max(0, floor((now_us - mine.since) / 1000)), describe_waits(name)}
    else
      wait(me, position, index)
      waiting[index] = me
    end
  end
end

for _, me in pairs(waiting) do
  if not matched[me.user] then
    local search = concat({me.place.level, me.topic, me.socket, me.since, me.entry_json}, '\n')
    call('SET', '{match}:searching:' .. me.user, search, 'PXAT', search_until)
    gather(joins, me.place.key, me.since, me.user)
    if me.place.band ~= me.place.pool then gather(pools, '{match}:pools', search_by, me.place.pool) end
    if me.topic_key then gather(joins, me.topic_key, me.since, me.user) end
    deadlines[#deadlines + 1], deadlines[#deadlines + 2] = search_by, 'search:' .. me.user
  end
end
if #deletes > 0 then call('DEL', unpack(deletes)) end
give('ZREM', leaves)
give('LPUSH', came)
give('ZADD', joins)
-- Nobody waits longer than a search lasts, so a queue that nobody joins may go.
for key in pairs(joins) do call('PEXPIREAT', key, search_by) end
give('ZADD', pools)
for key in pairs(pools) do call('ZREMRANGEBYSCORE', key, '-inf', created) end
if #drops > 1 then call('ZREM', unpack(drops)) end
if #deadlines > 1 then call('ZADD', unpack(deadlines)) end
for key in pairs(came) do
  call('LTRIM', key, 0, RECENT - 1)
  call('PEXPIRE', key, RECENT_MS)
end
for name, known in pairs(waits) do
  if known and known.is_moved then
    call('SET', '{match}:waits:' .. name, string.format('%.6f %.6f %d', known.median, known.p90, known.count),
      'EX', WAITS_KEPT)
  end
end

for index, me in pairs(waiting) do
  local waited = max(0, floor((now_us - me.since) / 1000))
  answers[index] = {'waiting', me.since, waited, describe_waits(me.place.name)}
end
return answers
