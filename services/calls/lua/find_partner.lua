-- For each of several users, one after another: take the longest-waiting partner that fits, or join the queue. One step,
-- so that nobody is matched twice.
--
-- KEYS[1] {match}:due
-- ARGV    search ms, join ms, room seconds; then of each find: user, pool and level (a colon between), topic ('' for
--         none), socket, queue entry, room id, session id, position: '' for the end of the queue, 'head', or since when
--         (µs), users whom the user must not meet (ids, a space between)
-- returns of each find {'already_searching'} | {'already_in_room'}
--         | {'waiting', people ahead, matches of the last 5 minutes, since (µs)}
--         | {'matched', partner's queue entry, since when they waited (µs), level, topic, how long (ms)}
--
-- A search is stored as its level, topic, socket and beginning, a line each, and the queue entry, of which this script
-- reads the pool alone, at its beginning. A queue has searches of one pool, so no find sees another. Calls are what a
-- script costs: it reads once what several finds look at, writes together what may be written together, and a search that
-- meets its partner among these finds is never written at all.

local call, concat = redis.call, table.concat
local search_ms, join_ms, room_seconds = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local COUNT = (#ARGV - 3) / 9

-- How many of those waiting one search looks at.
local WINDOW = 64
local FITTING = {
  all = {'all', 'beginner', 'intermediate', 'advanced'},
  beginner = {'beginner', 'all'}, intermediate = {'intermediate', 'all'}, advanced = {'advanced', 'all'},
  -- The accounts of the stores' review teams (review_pool.py).
  review = {'review'},
}

-- Redis's clock: those of the servers may differ.
local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local minute = math.floor(now / 60000)
-- Times (ms), written out once; keys expire at a time, which is how Redis writes it down in the end.
local created, room_until = string.format('%.0f', now), string.format('%.0f', now + (room_seconds + 60) * 1000)
local join_by, search_by = string.format('%.0f', now + join_ms), string.format('%.0f', now + search_ms)
-- A little longer than the search, so that its end still finds the socket to emit to.
local search_until = string.format('%.0f', now + search_ms + 5000)

-- The queue of a pool and level: its key, and the keys of those that fit it, in the same pool. Made once for each.
local places = {}
local function place_of(name)
  local place = places[name]
  if not place then
    local pool, level = string.match(name, '^([^:]+):(%a+)$')
    place = {name = name, level = level, key = '{match}:queue:' .. name, fitting = {}}
    -- A search of a later release may have a level that is not known here.
    for index, fitting in ipairs(FITTING[level] or {}) do
      place.fitting[index] = '{match}:queue:' .. pool .. ':' .. fitting
    end
    places[name] = place
  end
  return place
end

-- A search, with the key of the queue of its topic. Few fields, for a table of more than eight costs twice as much.
local function new_search(user, name, topic, entry_json)
  local place = place_of(name)
  return {user = user, place = place, topic = topic, entry_json = entry_json,
    topic_key = topic ~= '' and place.key .. ':' .. topic or nil}
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
-- The queues that a find walks, by the one in which it would wait.
local walked = {}
local workers = {}
-- What is written at the end.
local leaves, joins, drops, deadlines, made = {}, {}, {KEYS[1]}, {KEYS[1]}, {}

local function search_of(user)
  local search = searches[user]
  if search == nil then
    search = false
    local held = call('GET', '{match}:searching:' .. user)
    if held then
      -- One without a pool is of a release before this one, and in a queue of its own.
      local level, topic, worker, since, entry_json, pool =
        string.match(held, '^(%a+)\n([^\n]*)\n([^\n.]*)[^\n]*\n(%d+)\n({"pool":"([%w_]+)".*)')
      if level then
        search = new_search(user, pool .. ':' .. level, topic, entry_json)
        search.worker, search.since = worker, since
      end
    end
    searches[user] = search
  end
  return search
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
    local found = call('ZRANGE', queue.key, queue.read, queue.read + page - 1, 'WITHSCORES')
    for index = 1, #found, 2 do queue[#queue + 1] = {found[index], tonumber(found[index + 1])} end
    queue.read = queue.read + page
    queue.is_whole = #found < 2 * page
  end
  return queue[position]
end

local function queues_of(me, topic)
  local name = topic == '' and me.place.key or me.topic_key
  local queues = walked[name]
  if not queues then
    queues = {}
    walked[name] = queues
    for _, fitting in ipairs(me.place.fitting) do
      local key = topic == '' and fitting or fitting .. ':' .. topic
      if not stored[key] then
        stored[key] = {key = key, read = 0, first = 1, is_whole = false}
        fresh[key] = {key = key, first = 1, is_whole = true}
      end
      queues[#queues + 1] = stored[key]
      queues[#queues + 1] = fresh[key]
    end
  end
  return queues
end

-- Walk the queues that fit a search as one, oldest first, until `left` people have been looked at; answer who fits, how
-- many are left to look at, and who fits but was met a moment ago.
local function first_that_fits(me, topic, avoided, left)
  local user = me.user
  local queues, positions, met_before = {}, {}, nil
  for _, queue in ipairs(queues_of(me, topic)) do
    local entry = entry_at(queue, queue.first)
    while entry and matched[entry[1]] do
      queue.first = queue.first + 1
      entry = entry_at(queue, queue.first)
    end
    if entry then
      queues[#queues + 1] = queue
      positions[#queues] = queue.first
    end
  end
  while left > 0 do
    local oldest, entry = nil, nil
    for index = 1, #queues do
      local head = entry_at(queues[index], positions[index])
      if head and (entry == nil or head[2] < entry[2]) then oldest, entry = index, head end
    end
    if entry == nil then return nil, left, met_before end
    positions[oldest] = positions[oldest] + 1
    local found = entry[1]
    if not matched[found] and not entry.is_stale then
      left = left - 1
      local search = search_of(found)
      local key = queues[oldest].key
      if not search or (key ~= search.place.key and key ~= search.topic_key) then
        -- The search ran out; its user may have begun another one, which waits elsewhere.
        entry.is_stale = true
        gather(leaves, key, found)
      elseif found ~= user and not (avoided ~= '' and string.find(avoided, found, 1, true)) and is_alive(search.worker) then
        -- A search of a dead web process is removed by another one; it may also be Redis that was away.
        local met = call('GET', pair(user, found))
        if not met then return search, left, met_before end
        -- Two whose match was refused a moment ago would be refused again.
        if met ~= 'refused' then met_before = met_before or search end
      end
    end
  end
  return nil, 0, met_before
end

local function make_room(room, session, partner, me)
  local other, user = partner.user, me.user
  matched[other], matched[user] = true, true
  if not partner.is_new then
    drops[#drops + 1] = 'search:' .. other
    call('DEL', '{match}:searching:' .. other)
    gather(leaves, partner.place.key, other)
    if partner.topic_key then gather(leaves, partner.topic_key, other) end
  end
  local mine, theirs = me.place.name, partner.place.name
  made[mine] = (made[mine] or 0) + 1
  if theirs ~= mine then made[theirs] = (made[theirs] or 0) + 1 end
  local level = me.place.level == 'all' and partner.place.level or me.place.level
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
  local waited = math.floor((clock[1] * 1000000 + clock[2] - partner.since) / 1000)
  return {'matched', partner.entry_json, partner.since, level, topic, math.max(0, waited)}
end

-- Wait among these finds; a search that none of them has matched is written at the end.
local function wait(me, socket, position, index)
  -- A microsecond apart: equals would stand by their ids.
  local since = tonumber(position) or clock[1] * 1000000 + clock[2] + index
  local general = fresh[me.place.key]
  if position == 'head' then
    for _, queue in ipairs({stored[general.key], general}) do
      local head = entry_at(queue, queue.first)
      if head then since = math.min(since, head[2] - 1) end
    end
  end
  me.since, me.socket, me.worker, me.is_new = string.format('%.0f', since), socket, string.match(socket, '^[^.]*'), true
  searches[me.user] = me
  for _, queue in ipairs({general, me.topic_key and fresh[me.topic_key] or nil}) do
    local at = #queue + 1
    while at > queue.first and queue[at - 1][2] > since do at = at - 1 end
    table.insert(queue, at, {me.user, since})
  end
end

local answers, waiting = {}, {}
for index = 1, COUNT do
  local at = 4 + (index - 1) * 9
  local user, topic = ARGV[at], ARGV[at + 2]
  local busy = matched[user] and 'already_in_room' or searches[user] and searches[user].is_new and 'already_searching'
  if not busy and call('EXISTS', '{match}:searching:' .. user, '{match}:in_room:' .. user) > 0 then
    busy = call('EXISTS', '{match}:in_room:' .. user) == 1 and 'already_in_room' or 'already_searching'
  end
  if busy then
    answers[index] = {busy}
  else
    local me = new_search(user, ARGV[at + 1], topic, ARGV[at + 4])
    local partner, left, met_before, met = nil, WINDOW, nil, nil
    if topic ~= '' then
      partner, left, met_before = first_that_fits(me, topic, ARGV[at + 8], left)
    end
    if not partner then
      partner, left, met = first_that_fits(me, '', ARGV[at + 8], left)
      partner = partner or met_before or met
    end
    if partner then
      answers[index] = make_room(ARGV[at + 5], ARGV[at + 6], partner, me)
    else
      wait(me, ARGV[at + 3], ARGV[at + 7], index)
      waiting[index] = me
    end
  end
end

for _, me in pairs(waiting) do
  if not matched[me.user] then
    local search = concat({me.place.level, me.topic, me.socket, me.since, me.entry_json}, '\n')
    call('SET', '{match}:searching:' .. me.user, search, 'PXAT', search_until)
    gather(joins, me.place.key, me.since, me.user)
    if me.topic_key then gather(joins, me.topic_key, me.since, me.user) end
    deadlines[#deadlines + 1], deadlines[#deadlines + 2] = search_by, 'search:' .. me.user
  end
end
give('ZREM', leaves)
give('ZADD', joins)
-- Nobody waits longer than a search lasts, so a queue that nobody joins may go.
for key in pairs(joins) do call('PEXPIREAT', key, search_by) end
if #drops > 1 then call('ZREM', unpack(drops)) end
if #deadlines > 1 then call('ZADD', unpack(deadlines)) end
for name, count in pairs(made) do
  local rate = '{match}:rate:' .. name .. ':' .. minute
  if call('INCRBY', rate, count) == count then call('EXPIRE', rate, '360') end
end

local recent = {}
for index, me in pairs(waiting) do
  local name = me.place.name
  if not recent[name] then
    local rate = '{match}:rate:' .. name .. ':'
    recent[name] = 0
    for _, each in ipairs(call('MGET', rate .. minute, rate .. minute - 1, rate .. minute - 2, rate .. minute - 3, rate .. minute - 4)) do
      recent[name] = recent[name] + (each or 0)
    end
  end
  local ahead = matched[me.user] and 0 or call('ZRANK', me.place.key, me.user)
  answers[index] = {'waiting', ahead, recent[name], me.since}
end
return answers
