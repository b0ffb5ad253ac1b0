-- Close a room, once: a second close finds nothing.
--
-- KEYS[1] {match}:room:{room}:meta   KEYS[2] {match}:room:{room}:users   KEYS[3] {match}:due
-- ARGV    user ('' for neither), room, condition: '' | 'unjoined', while it is no call | 'away', while the user is,
--         and their grace is over | 'socket:' and the socket the room must still have for the user; who ended it
-- returns {'not_in_room'} | {for how many ms it was a call, -1 where it was none, when it ended (ms): now, or when its
--         participants were last known to be there, 1 where `match_found` was about to be emitted, ms since it ended,
--         then for each participant: user id, socket or '' where they had not joined, queue entry or ''}
--
-- The same step adds a deadline for ending the call's row: where this process dies before, another one does it.

local me, room, condition = ARGV[1], ARGV[2], ARGV[3]
if me ~= '' and redis.call('SISMEMBER', KEYS[2], me) == 0 then
  redis.call('ZREM', KEYS[3], 'grace:' .. room .. ':' .. me)
  return {'not_in_room'}
end
local meta = redis.call('HMGET', KEYS[1], 'userAId', 'userBId', 'connected', 'socket:' .. me, 'away:' .. me)
if not meta[1] then return {'not_in_room'} end
-- The queue entry of a participant who is in this room, else ''; and whether they are.
local function entry_of(user)
  local held = redis.call('GET', '{match}:in_room:' .. user) or ''
  local found, entry_json = string.match(held, '^([^\n]*)\n?(.*)')
  return found == room and entry_json or '', found == room
end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
if condition == 'unjoined' then
  if meta[3] then return {'not_in_room'} end
elseif condition == 'away' then
  if not meta[5] then redis.call('ZREM', KEYS[3], 'grace:' .. room .. ':' .. me) end
  if not meta[5] or tonumber(meta[5]) > now then return {'not_in_room'} end
elseif condition ~= '' then
  local socket, entry_json = meta[4], entry_of(me)
  if not socket and entry_json ~= '' then socket = cjson.decode(entry_json).socket end
  if 'socket:' .. (socket or '') ~= condition then return {'not_in_room'} end
end

local ended_ms = math.min(now, tonumber(redis.call('HGET', KEYS[1], 'until') or now))
local lasted = meta[3] and string.format('%.0f', math.max(0, ended_ms - meta[3])) or '-1'
local ended = string.format('%.0f', ended_ms)
local answer = {lasted, ended, redis.call('HEXISTS', KEYS[1], 'announced'), string.format('%.0f', now - ended_ms)}
for index = 1, 2 do
  local user = meta[index]
  local entry_json, is_here = entry_of(user)
  answer[#answer + 1] = user
  answer[#answer + 1] = redis.call('HGET', KEYS[1], 'socket:' .. user) or ''
  answer[#answer + 1] = entry_json
  if is_here then redis.call('DEL', '{match}:in_room:' .. user) end
  redis.call('ZREM', KEYS[3], 'grace:' .. room .. ':' .. user)
  redis.call('DEL', (string.gsub(KEYS[1], 'meta$', 'signals:' .. user)))
end
-- For how long the two meet again only when nobody else waits (seconds).
local one, other = meta[1], meta[2]
if other < one then one, other = other, one end
redis.call('SET', '{match}:recent:' .. one .. ':' .. other, room, 'EX', 600)
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('ZREM', KEYS[3], 'join:' .. room, 'room:' .. room)
redis.call('ZADD', KEYS[3], now + 5000, table.concat({'end', room, ARGV[4], lasted, ended}, ':'))
return answer
