-- Take the longest-waiting partner that fits, or join the queue. One step, so that nobody is matched twice.
--
-- KEYS[1] match:searching:{user}   KEYS[2] match:in_room:{user}   KEYS[3] match:due
-- ARGV    user, level, topic ('' for none), ticket (a JSON object), room id, session id, search ms, join ms,
--         room seconds, 1 to wait at the head of the queue, then everybody the user must not meet
-- returns {'already_searching'} | {'already_in_room'}
--         | {'waiting', people ahead, matches of the last 5 minutes, ticket as it waits}
--         | {'matched', partner's ticket, level, topic}

local user, level, topic, ticket = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local room, session, search_ms, join_ms, room_seconds = ARGV[5], ARGV[6], ARGV[7], ARGV[8], ARGV[9]

-- How many of those waiting one search looks at.
local WINDOW = 64
-- For how long a partner is met again only when nobody else waits (seconds).
local RECENT = 600

if redis.call('EXISTS', KEYS[2]) == 1 then return {'already_in_room'} end
if redis.call('EXISTS', KEYS[1]) == 1 then return {'already_searching'} end

-- Redis's clock: those of the servers may differ.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local avoided = {[user] = true}
for index = 11, #ARGV do avoided[ARGV[index]] = true end

local function pair(other)
  if user < other then return 'match:recent:' .. user .. ':' .. other end
  return 'match:recent:' .. other .. ':' .. user
end

local levels = {level, 'all'}
if level == 'all' then levels = {'all', 'beginner', 'intermediate', 'advanced'} end

local lives = {}
local function is_alive(socket)
  local worker = string.match(socket, '^[^.]*')
  if lives[worker] == nil then lives[worker] = redis.call('EXISTS', 'worker:' .. worker) == 1 end
  return lives[worker]
end

-- Someone met a moment ago, in case nobody else waits.
local again = nil

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
    elseif avoided[found] or not is_alive(partner.socket) then
      -- Whoever was on a worker that died is looked after by another; it may also be Redis that was away.
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

local minute = math.floor(now / 60000)

if not partner then
  local queue = 'match:queue:' .. level
  local since = clock[1] * 1000000 + clock[2]
  if ARGV[10] == '1' then
    local head = redis.call('ZRANGE', queue, 0, 0, 'WITHSCORES')
    if head[2] then since = math.min(since, tonumber(head[2]) - 1) end
  end
  since = string.format('%.0f', since)
  ticket = '{"since":' .. since .. ',' .. string.sub(ticket, 2)
  -- A little longer than the search, so that whoever ends it still finds whom to tell.
  redis.call('SET', KEYS[1], ticket, 'PX', search_ms + 5000)
  redis.call('ZADD', KEYS[3], now + search_ms, 'search:' .. user)
  -- Nobody waits longer than a search lasts, so a queue that nobody joins may go.
  redis.call('ZADD', queue, since, user)
  redis.call('PEXPIRE', queue, search_ms)
  if topic ~= '' then
    redis.call('ZADD', queue .. ':' .. topic, since, user)
    redis.call('PEXPIRE', queue .. ':' .. topic, search_ms)
  end
  local recent = 0
  for back = 0, 4 do
    recent = recent + tonumber(redis.call('GET', 'match:rate:' .. level .. ':' .. (minute - back)) or 0)
  end
  return {'waiting', redis.call('ZRANK', queue, user), recent, ticket}
end

redis.call('SET', pair(partner.userId), '1', 'EX', RECENT)
local held = redis.call('GET', 'match:searching:' .. partner.userId)
redis.call('DEL', 'match:searching:' .. partner.userId)
redis.call('ZREM', 'match:queue:' .. partner.level, partner.userId)
if partner.topic ~= '' then
  redis.call('ZREM', 'match:queue:' .. partner.level .. ':' .. partner.topic, partner.userId)
end

local room_level = level
if level == 'all' then room_level = partner.level end
local room_topic = partner.topic
if topic ~= '' then room_topic = topic end

local users, meta = 'match:room:' .. room .. ':users', 'match:room:' .. room .. ':meta'
redis.call('SADD', users, partner.userId, user)
redis.call('HSET', meta, 'createdAt', now, 'topic', room_topic, 'level', room_level, 'sessionId', session,
  'userAId', partner.userId, 'userBId', user, 'ticket:' .. partner.userId, held, 'ticket:' .. user, ticket)
redis.call('EXPIRE', users, room_seconds + 60)
redis.call('EXPIRE', meta, room_seconds + 60)
redis.call('SET', 'match:in_room:' .. partner.userId, room, 'EX', room_seconds + 60)
redis.call('SET', 'match:in_room:' .. user, room, 'EX', room_seconds + 60)
redis.call('ZREM', KEYS[3], 'search:' .. partner.userId)
redis.call('ZADD', KEYS[3], now + join_ms, 'join:' .. room, now + room_seconds * 1000, 'room:' .. room)

local counted = {[level] = true, [partner.level] = true}
for each in pairs(counted) do
  local rate = 'match:rate:' .. each .. ':' .. minute
  redis.call('INCR', rate)
  redis.call('EXPIRE', rate, 360)
end

return {'matched', held, room_level, room_topic}
