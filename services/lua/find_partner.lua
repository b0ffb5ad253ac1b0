-- Take the longest-waiting partner that fits, or join the queue. One step, so that nobody is matched twice.
--
-- KEYS[1] match:searching:{user}   KEYS[2] match:in_room:{user}   KEYS[3] match:due
-- ARGV    user, level, topic ('' for none), socket, ticket, room id, session id, search ms, join ms, room seconds,
--         1 to wait at the head of the queue, then everybody the user must not meet
-- returns {'already_searching'} | {'already_in_room'}
--         | {'waiting', people ahead, matches of the last 5 minutes, since (µs)}
--         | {'matched', partner's ticket, since when they waited (µs), level, topic, how long (ms)}
--
-- A search is held as its level, topic, socket and beginning, a line each, and the ticket, which is nothing to this
-- script. Calls are what a script costs: it makes as few as it can.

local call = redis.call
local user, level, topic, socket, ticket = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]

-- How many of those waiting one search looks at.
local WINDOW = 64

if call('EXISTS', KEYS[1], KEYS[2]) > 0 then
  if call('EXISTS', KEYS[2]) == 1 then return {'already_in_room'} end
  return {'already_searching'}
end

-- Redis's clock: those of the servers may differ.
local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local avoided = nil
if #ARGV > 11 then
  avoided = {}
  for index = 12, #ARGV do avoided[ARGV[index]] = true end
end

local function pair(other)
  if user < other then return 'match:recent:' .. user .. ':' .. other end
  return 'match:recent:' .. other .. ':' .. user
end

-- Someone met a moment ago, in case nobody else waits.
local again = nil

-- Walk several queues as one, oldest first, until `left` people have been looked at.
local function first_that_fits(queues, left)
  -- Of each queue: who is read but not looked at, from where on; and how many stay before them.
  local heads, at, kept = {}, {}, {}
  for index = 1, #queues do
    heads[index] = call('ZRANGE', queues[index], 0, 0, 'WITHSCORES')
    at[index], kept[index] = 1, 0
  end
  while left > 0 do
    local oldest, since = nil, nil
    for index = 1, #queues do
      local head = heads[index]
      if head[at[index]] == nil and at[index] > 1 then
        -- The first one did not do; the next ones are read by the eight.
        head = call('ZRANGE', queues[index], kept[index], kept[index] + 7, 'WITHSCORES')
        heads[index], at[index] = head, 1
      end
      local score = head[at[index] + 1]
      if score then
        score = tonumber(score)
        if since == nil or score < since then oldest, since = index, score end
      end
    end
    if oldest == nil then return nil, left end
    left = left - 1
    local queue, found = queues[oldest], heads[oldest][at[oldest]]
    at[oldest], kept[oldest] = at[oldest] + 2, kept[oldest] + 1
    local held = call('GET', 'match:searching:' .. found)
    local their_level, their_topic, worker, began, their_ticket
    if held then
      their_level, their_topic, worker, began, their_ticket =
        string.match(held, '^(%a+)\n([^\n]*)\n([^\n.]*)[^\n]*\n(%d+)\n(.*)')
    end
    local own = their_level and 'match:queue:' .. their_level
    if own == nil or (queue ~= own and queue ~= own .. ':' .. their_topic) then
      -- The search ran out; its user may have begun another one, which waits elsewhere.
      call('ZREM', queue, found)
      kept[oldest] = kept[oldest] - 1
    elseif found ~= user and not (avoided and avoided[found]) then
      local marks = call('MGET', 'worker:' .. worker, pair(found))
      -- Whoever was on a worker that died is looked after by another; it may also be Redis that was away.
      if marks[1] then
        local partner = {found, their_level, their_topic, began, their_ticket}
        if not marks[2] then return partner, left end
        again = again or partner
      end
    end
  end
  return nil, 0
end

local queue = 'match:queue:' .. level
local general
if level == 'all' then
  general = {queue, 'match:queue:beginner', 'match:queue:intermediate', 'match:queue:advanced'}
else
  general = {queue, 'match:queue:all'}
end

local partner, left = nil, WINDOW
if topic ~= '' then
  local same_topic = {}
  for index = 1, #general do same_topic[index] = general[index] .. ':' .. topic end
  partner, left = first_that_fits(same_topic, left)
end
if not partner then partner = first_that_fits(general, left) end
partner = partner or again

local minute = math.floor(now / 60000)

if not partner then
  local search_ms = ARGV[8]
  local since = clock[1] * 1000000 + clock[2]
  if ARGV[11] == '1' then
    local head = call('ZRANGE', queue, 0, 0, 'WITHSCORES')
    if head[2] then since = math.min(since, tonumber(head[2]) - 1) end
  end
  since = string.format('%.0f', since)
  -- A little longer than the search, so that whoever ends it still finds whom to tell.
  call('SET', KEYS[1], table.concat({level, topic, socket, since, ticket}, '\n'), 'PX', search_ms + 5000)
  call('ZADD', KEYS[3], now + search_ms, 'search:' .. user)
  -- Nobody waits longer than a search lasts, so a queue that nobody joins may go.
  call('ZADD', queue, since, user)
  call('PEXPIRE', queue, search_ms)
  if topic ~= '' then
    call('ZADD', queue .. ':' .. topic, since, user)
    call('PEXPIRE', queue .. ':' .. topic, search_ms)
  end
  local rate, recent = 'match:rate:' .. level .. ':', 0
  local made = call('MGET', rate .. minute, rate .. minute - 1, rate .. minute - 2, rate .. minute - 3, rate .. minute - 4)
  for index = 1, 5 do recent = recent + (made[index] or 0) end
  return {'waiting', call('ZRANK', queue, user), recent, since}
end

local room, room_seconds = ARGV[6], ARGV[10]
local other, their_level, their_topic, began, their_ticket = unpack(partner)
-- For how long a partner is met again only when nobody else waits (seconds).
call('SET', pair(other), '1', 'EX', '600')
call('DEL', 'match:searching:' .. other)
call('ZREM', 'match:queue:' .. their_level, other)
if their_topic ~= '' then call('ZREM', 'match:queue:' .. their_level .. ':' .. their_topic, other) end
call('ZREM', KEYS[3], 'search:' .. other)

local rate = 'match:rate:' .. level .. ':' .. minute
if call('INCR', rate) == 1 then call('EXPIRE', rate, '360') end
if their_level ~= level then
  rate = 'match:rate:' .. their_level .. ':' .. minute
  if call('INCR', rate) == 1 then call('EXPIRE', rate, '360') end
end
if level == 'all' then level = their_level end
if topic == '' then topic = their_topic end

local users, meta = 'match:room:' .. room .. ':users', 'match:room:' .. room .. ':meta'
call('SADD', users, other, user)
call('EXPIRE', users, room_seconds + 60)
call('HSET', meta, 'createdAt', now, 'topic', topic, 'level', level, 'sessionId', ARGV[7],
  'userAId', other, 'userBId', user, 'ticket:' .. other, their_ticket, 'ticket:' .. user, ticket)
call('EXPIRE', meta, room_seconds + 60)
call('SET', 'match:in_room:' .. other, room, 'EX', room_seconds + 60)
call('SET', KEYS[2], room, 'EX', room_seconds + 60)
call('ZADD', KEYS[3], now + ARGV[9], 'join:' .. room, now + room_seconds * 1000, 'room:' .. room)

local waited = math.max(0, math.floor((clock[1] * 1000000 + clock[2] - began) / 1000))
return {'matched', their_ticket, began, level, topic, waited}
