-- Close a room, once: whoever comes second finds nothing.
--
-- KEYS[1] match:room:{room}:meta   KEYS[2] match:room:{room}:users   KEYS[3] match:due
-- ARGV    user ('' for neither), room, condition: '' | 'unjoined', while it is no call | 'away', while the user is,
--         and their grace is over | 'socket:' and the socket the room must still have for the user; who ended it
-- returns {'not_in_room'} | {for how many ms it was a call, -1 where it was none, now (ms),
--         1 where both were told of the match,
--         then for each member: user id, socket or '' where they had not joined, ticket or ''}
--
-- That the call's row is still to be ended, and how long the call was, is noted in the same step: whoever dies before it is done, another does it.

local me, room, condition = ARGV[1], ARGV[2], ARGV[3]
if me ~= '' and redis.call('SISMEMBER', KEYS[2], me) == 0 then
  redis.call('ZREM', KEYS[3], 'grace:' .. room .. ':' .. me)
  return {'not_in_room'}
end
local meta = redis.call('HMGET', KEYS[1], 'userAId', 'userBId', 'connected', 'socket:' .. me, 'away:' .. me)
if not meta[1] then return {'not_in_room'} end
-- The ticket of a member who is in this room, else ''.
local function ticket_of(user)
  local held = redis.call('GET', 'match:in_room:' .. user) or ''
  local found, ticket = string.match(held, '^([^\n]*)\n?(.*)')
  return found == room and ticket or '', found == room
end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
if condition == 'unjoined' then
  if meta[3] then return {'not_in_room'} end
elseif condition == 'away' then
  if not meta[5] then redis.call('ZREM', KEYS[3], 'grace:' .. room .. ':' .. me) end
  if not meta[5] or tonumber(meta[5]) > now then return {'not_in_room'} end
elseif condition ~= '' then
  local socket, ticket = meta[4], ticket_of(me)
  if not socket and ticket ~= '' then socket = cjson.decode(ticket).socket end
  if 'socket:' .. (socket or '') ~= condition then return {'not_in_room'} end
end

local lasted = meta[3] and string.format('%.0f', math.max(0, now - meta[3])) or '-1'
local ended = string.format('%.0f', now)
local answer = {lasted, ended, redis.call('HEXISTS', KEYS[1], 'announced')}
for index = 1, 2 do
  local user = meta[index]
  local ticket, is_here = ticket_of(user)
  answer[#answer + 1] = user
  answer[#answer + 1] = redis.call('HGET', KEYS[1], 'socket:' .. user) or ''
  answer[#answer + 1] = ticket
  if is_here then redis.call('DEL', 'match:in_room:' .. user) end
  redis.call('ZREM', KEYS[3], 'grace:' .. room .. ':' .. user)
end
-- For how long the two meet again only when nobody else waits (seconds).
local one, other = meta[1], meta[2]
if other < one then one, other = other, one end
redis.call('SET', 'match:recent:' .. one .. ':' .. other, '1', 'EX', 600)
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('ZREM', KEYS[3], 'join:' .. room, 'room:' .. room)
redis.call('ZADD', KEYS[3], now + 5000, table.concat({'end', room, ARGV[4], lasted, ended}, ':'))
return answer
