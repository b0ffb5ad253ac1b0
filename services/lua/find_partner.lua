-- Take the longest-waiting partner that fits, or join the queue. One step, so that nobody is matched twice.
--
-- KEYS[1] match:searching:{user}   KEYS[2] match:in_room:{user}
-- ARGV    now (ms), user, level, topic ('' for none), socket, ticket, room id, session id, search seconds,
--         room seconds, then everybody the user must not meet
-- returns {'already_searching'} | {'already_in_room'} | {'waiting', people ahead, matches of the last 5 minutes}
--         | {'matched', partner's ticket, level, topic}
--
-- A search is held as its level, topic and socket, a line each, and the ticket, which is nothing to this script.
-- Calls are what a script costs: it makes as few as it can.

local call = redis.call
local now, user, level, topic, socket = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]

-- How many of those waiting one search looks at.
local WINDOW = 64

local avoided = nil
if #ARGV > 10 then
  avoided = {}
  for index = 11, #ARGV do avoided[ARGV[index]] = true end
end

if call('EXISTS', KEYS[1], KEYS[2]) > 0 then
  if call('EXISTS', KEYS[2]) == 1 then return {'already_in_room'} end
  return {'already_searching'}
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
    local held_level, held_topic, held_socket, ticket
    if held then held_level, held_topic, held_socket, ticket = string.match(held, '^(%a+)\n([^\n]*)\n([^\n]*)\n(.*)') end
    local own = held_level and 'match:queue:' .. held_level
    if own == nil or (queue ~= own and queue ~= own .. ':' .. held_topic) then
      -- The search ran out; its user may have begun another one, which waits elsewhere.
      call('ZREM', queue, found)
      kept[oldest] = kept[oldest] - 1
    else
      local marks = call('MGET', 'worker:' .. string.match(held_socket, '^[^.]*'), pair(found))
      if not marks[1] then
        -- Its socket died with its worker.
        call('ZREM', own, found)
        if held_topic ~= '' then call('ZREM', own .. ':' .. held_topic, found) end
        call('DEL', 'match:searching:' .. found)
        kept[oldest] = kept[oldest] - 1
      elseif found ~= user and not (avoided and avoided[found]) then
        local partner = {found, held_level, held_topic, held_socket, ticket}
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
  local search_seconds = ARGV[9]
  call('SET', KEYS[1], level .. '\n' .. topic .. '\n' .. socket .. '\n' .. ARGV[6], 'EX', search_seconds)
  -- Nobody waits longer than a search lasts, so a queue that nobody joins may go.
  call('ZADD', queue, now, user)
  call('EXPIRE', queue, search_seconds)
  if topic ~= '' then
    call('ZADD', queue .. ':' .. topic, now, user)
    call('EXPIRE', queue .. ':' .. topic, search_seconds)
  end
  local rate, recent = 'match:rate:' .. level .. ':', 0
  local made = call('MGET', rate .. minute, rate .. minute - 1, rate .. minute - 2, rate .. minute - 3, rate .. minute - 4)
  for index = 1, 5 do recent = recent + (made[index] or 0) end
  return {'waiting', call('ZRANK', queue, user), recent}
end

local room, room_seconds = ARGV[7], ARGV[10]
local other, held_level, held_topic, held_socket, ticket = unpack(partner)
-- For how long a partner is met again only when nobody else waits (seconds).
call('SET', pair(other), '1', 'EX', '600')
call('DEL', 'match:searching:' .. other)
call('ZREM', 'match:queue:' .. held_level, other)
if held_topic ~= '' then call('ZREM', 'match:queue:' .. held_level .. ':' .. held_topic, other) end

if level == 'all' then level = held_level end
local asked_level = ARGV[3]
if topic == '' then topic = held_topic end

local users, meta = 'match:room:' .. room .. ':users', 'match:room:' .. room .. ':meta'
call('SADD', users, other, user)
call('EXPIRE', users, room_seconds)
call('HSET', meta, 'createdAt', now, 'topic', topic, 'level', level,
  'sessionId', ARGV[8], 'userAId', other, 'userBId', user, 'search:' .. other, held_socket, 'search:' .. user, socket)
call('EXPIRE', meta, room_seconds)
call('SET', 'match:in_room:' .. other, room, 'EX', room_seconds)
call('SET', KEYS[2], room, 'EX', room_seconds)

local rate = 'match:rate:' .. asked_level .. ':' .. minute
if call('INCR', rate) == 1 then call('EXPIRE', rate, '360') end
if held_level ~= asked_level then
  rate = 'match:rate:' .. held_level .. ':' .. minute
  if call('INCR', rate) == 1 then call('EXPIRE', rate, '360') end
end

return {'matched', ticket, level, topic}
