-- Take the longest-waiting partner that fits, or join the queue. One step, so that nobody is matched twice.
--
-- KEYS[1] match:searching:{user}   KEYS[2] match:in_room:{user}
-- ARGV    now (ms), user, level, topic ('' for none), ticket (JSON), room id, session id,
--         search seconds, room seconds, then everybody the user must not meet
-- returns {'already_searching'} | {'already_in_room'} | {'waiting', people ahead, matches of the last 5 minutes}
--         | {'matched', partner's ticket, level, topic}

local now, user, level, topic, ticket = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local room, session, search_seconds, room_seconds = ARGV[6], ARGV[7], ARGV[8], ARGV[9]

-- How many of those waiting one search looks at.
local WINDOW = 64
-- For how long a partner is met again only when nobody else waits (seconds).
local RECENT = 600

local avoided = {[user] = true}
for index = 10, #ARGV do avoided[ARGV[index]] = true end

local function pair(other)
  if user < other then return 'match:recent:' .. user .. ':' .. other end
  return 'match:recent:' .. other .. ':' .. user
end

if redis.call('EXISTS', KEYS[2]) == 1 then return {'already_in_room'} end
if redis.call('EXISTS', KEYS[1]) == 1 then return {'already_searching'} end

local levels = {level, 'all'}
if level == 'all' then levels = {'all', 'beginner', 'intermediate', 'advanced'} end

local function forget(waiting, held_level, held_topic)
  redis.call('ZREM', 'match:queue:' .. held_level, waiting)
  if held_topic ~= '' then redis.call('ZREM', 'match:queue:' .. held_level .. ':' .. held_topic, waiting) end
end

-- Someone met a moment ago, in case nobody else waits.
local again = nil

-- Nobody waits longer than a search lasts, so a queue that nobody joins may go.
local function wait_in(queue)
  redis.call('ZADD', queue, now, user)
  redis.call('EXPIRE', queue, search_seconds)
end

-- Walk several queues as one, oldest first, until `left` people have been looked at.
local function first_that_fits(queues, left)
  local position = {}
  for index = 1, #queues do position[index] = 0 end
  while left > 0 do
    local oldest, found, since = nil, nil, nil
    for index, queue in ipairs(queues) do
      local head = redis.call('ZRANGE', queue, position[index], position[index], 'WITHSCORES')
      if head[1] and (since == nil or tonumber(head[2]) < since) then
        oldest, found, since = index, head[1], tonumber(head[2])
      end
    end
    if found == nil then return nil, left end
    left = left - 1
    local held = redis.call('GET', 'match:searching:' .. found)
    local partner = held and cjson.decode(held)
    local queue = partner and 'match:queue:' .. partner.level
    if not partner or (queues[oldest] ~= queue and queues[oldest] ~= queue .. ':' .. partner.topic) then
      -- The search ran out; its user may have begun another one, which waits elsewhere.
      redis.call('ZREM', queues[oldest], found)
    elseif redis.call('EXISTS', 'worker:' .. string.match(partner.socket, '^[^.]*')) == 0 then
      -- Its socket died with its worker.
      forget(found, partner.level, partner.topic)
      redis.call('DEL', 'match:searching:' .. found)
    elseif avoided[found] then
      position[oldest] = position[oldest] + 1
    elseif redis.call('EXISTS', pair(found)) == 1 then
      again = again or partner
      position[oldest] = position[oldest] + 1
    else
      return partner, left
    end
  end
  return nil, 0
end

local general, same_topic = {}, {}
for index, each in ipairs(levels) do
  general[index] = 'match:queue:' .. each
  same_topic[index] = 'match:queue:' .. each .. ':' .. topic
end

local partner, left = nil, WINDOW
if topic ~= '' then partner, left = first_that_fits(same_topic, left) end
if not partner then partner, left = first_that_fits(general, left) end
partner = partner or again

local minute = math.floor(tonumber(now) / 60000)

if not partner then
  redis.call('SET', KEYS[1], ticket, 'EX', search_seconds)
  wait_in('match:queue:' .. level)
  if topic ~= '' then wait_in('match:queue:' .. level .. ':' .. topic) end
  local recent = 0
  for back = 0, 4 do
    recent = recent + tonumber(redis.call('GET', 'match:rate:' .. level .. ':' .. (minute - back)) or 0)
  end
  return {'waiting', redis.call('ZRANK', 'match:queue:' .. level, user), recent}
end

redis.call('SET', pair(partner.userId), '1', 'EX', RECENT)
redis.call('DEL', 'match:searching:' .. partner.userId)
forget(partner.userId, partner.level, partner.topic)

local room_level = level
if level == 'all' then room_level = partner.level end
local room_topic = partner.topic
if topic ~= '' then room_topic = topic end
local seeker = cjson.decode(ticket)

local users, meta = 'match:room:' .. room .. ':users', 'match:room:' .. room .. ':meta'
redis.call('SADD', users, partner.userId, user)
redis.call('HSET', meta, 'createdAt', now, 'topic', room_topic, 'level', room_level, 'sessionId', session,
  'userAId', partner.userId, 'userBId', user,
  'search:' .. partner.userId, partner.socket, 'search:' .. user, seeker.socket)
redis.call('EXPIRE', users, room_seconds)
redis.call('EXPIRE', meta, room_seconds)
redis.call('SET', 'match:in_room:' .. partner.userId, room, 'EX', room_seconds)
redis.call('SET', 'match:in_room:' .. user, room, 'EX', room_seconds)

local counted = {[level] = true, [partner.level] = true}
for each in pairs(counted) do
  local rate = 'match:rate:' .. each .. ':' .. minute
  redis.call('INCR', rate)
  redis.call('EXPIRE', rate, 360)
end

return {'matched', cjson.encode(partner), room_level, room_topic}
