-- Restore a room that Redis has lost, from the row of its call, with the participant whose socket is given.
--
-- KEYS[1] {match}:room:{room}:meta   KEYS[2] {match}:room:{room}:users   KEYS[3] {match}:due
-- ARGV    room, session, user a, user b, 1 where it is a call, room seconds it has left, grace ms,
--         participant ('' for neither), their socket, the caller ('' where that is not known), joins of the participant
--         and of the peer
-- A participant without a known socket has the grace to come back.
-- returns 1, or 0 where a participant searches, or is in another room

local room, participant, socket = ARGV[1], ARGV[8], ARGV[9]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
if redis.call('EXISTS', KEYS[1]) == 0 then
  -- A room that was closed since the loss stays closed: its row is about to be ended.
  local one, other = ARGV[3], ARGV[4]
  if other < one then one, other = other, one end
  if redis.call('EXISTS', '{match}:recent:' .. one .. ':' .. other) == 1 then return 1 end
  for _, user in ipairs({ARGV[3], ARGV[4]}) do
    if redis.call('EXISTS', '{match}:in_room:' .. user, '{match}:searching:' .. user) > 0 then return 0 end
  end
  redis.call('HSET', KEYS[1], 'createdAt', now, 'sessionId', ARGV[2], 'userAId', ARGV[3], 'userBId', ARGV[4],
    'announced', 1)
  redis.call('SADD', KEYS[2], ARGV[3], ARGV[4])
  redis.call('EXPIRE', KEYS[1], ARGV[6] + 60)
  redis.call('EXPIRE', KEYS[2], ARGV[6] + 60)
  if ARGV[5] == '1' then
    redis.call('HSET', KEYS[1], 'connected', 1)
    redis.call('ZADD', KEYS[3], now + ARGV[6] * 1000, 'room:' .. room)
  else
    redis.call('ZADD', KEYS[3], now + ARGV[7], 'join:' .. room)
  end
  for _, user in ipairs({ARGV[3], ARGV[4]}) do
    redis.call('SET', '{match}:in_room:' .. user, room, 'EX', ARGV[6] + 60)
    if ARGV[5] == '1' then
      redis.call('HSET', KEYS[1], 'away:' .. user, string.format('%.0f', now + ARGV[7]))
      redis.call('ZADD', KEYS[3], now + ARGV[7], 'grace:' .. room .. ':' .. user)
    end
  end
end
if participant ~= '' and redis.call('HEXISTS', KEYS[1], 'socket:' .. participant) == 0 then
  redis.call('HSET', KEYS[1], 'socket:' .. participant, socket)
  redis.call('HDEL', KEYS[1], 'away:' .. participant)
  redis.call('ZREM', KEYS[3], 'grace:' .. room .. ':' .. participant)
end
-- A count of joins never falls: messages are ordered by it.
local function count_up(user, joins)
  if tonumber(redis.call('HGET', KEYS[1], 'joins:' .. user) or 0) < tonumber(joins) then
    redis.call('HSET', KEYS[1], 'joins:' .. user, joins)
  end
end
if participant ~= '' then
  count_up(participant, ARGV[11])
  count_up(participant == ARGV[3] and ARGV[4] or ARGV[3], ARGV[12])
end
if ARGV[10] ~= '' then redis.call('HSETNX', KEYS[1], 'caller', ARGV[10]) end
return 1
