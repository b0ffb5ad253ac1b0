-- Close a room, once: a second close finds nothing.
--
-- KEYS[1] {match}:room:{room}:meta   KEYS[2] {match}:room:{room}:users   KEYS[3] {match}:due
-- ARGV    user ('' for neither), room, condition: '' | 'unjoined', while it is no call | 'away', while the user is,
--         and their grace is over | 'socket:' and the socket the room must still have for the user; who ended it;
--         why: 'left', the user ended it themselves | 'left_silent', the same, and the connection of the call was not
--         negotiated | 'unjoined', its time to join is over | ''; that time (ms); for how long a hang-up is early (ms)
-- returns {'not_in_room'} | {for how many ms it was a call, -1 where it was none, when it ended (ms): now, or when its
--         participants were last known to be there, 1 where `match_found` was about to be emitted, ms since it ended,
--         the outcomes of its two participants, a letter each (services/calls/match_outcomes.py), then for each
--         participant: user id, socket or '' where they had not joined, queue entry or ''}
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
local is_announced = redis.call('HEXISTS', KEYS[1], 'announced')

-- How the two kept their match. A drop, a poor line and a failure of ours are nobody's fault: only who says that they
-- leave, and who is there and does not join, has a bad one.
local function judge()
  local letters = {'-', '-'}
  local mine = meta[1] == me and 1 or 2
  if tonumber(lasted) >= 60000 then return {'g', 'g'} end
  if is_announced == 0 or redis.call('HEXISTS', KEYS[1], 'troubled') == 1 then return letters end
  local age, join_ms = now - (redis.call('HGET', KEYS[1], 'createdAt') or now), tonumber(ARGV[6])
  local joins = redis.call('HMGET', KEYS[1], 'joins:' .. meta[1], 'joins:' .. meta[2])
  local is_left = ARGV[5] == 'left' or ARGV[5] == 'left_silent'
  if is_left and meta[3] then
    -- Of a call in which the two had no connection, because the other's app did not answer, it is not early.
    if ARGV[5] == 'left' and tonumber(lasted) < tonumber(ARGV[7]) then letters[mine] = 'l' end
  elseif is_left then
    -- Who cancels a search in the moment of its match does not know of it yet.
    local announced = tonumber(redis.call('HGET', KEYS[1], 'announced'))
    local is_unseen = condition == 'unjoined' and not joins[mine] and math.min(age, now - announced) < 2000
    -- Who has joined and waited for the other in vain, for half of the time, has declined nothing.
    local has_waited = joins[mine] and not joins[3 - mine] and age >= join_ms / 2
    if not is_unseen and not has_waited then letters[mine] = 'd' end
  elseif ARGV[5] == 'unjoined' and age < join_ms + 4000 then
    -- A deadline that is handled late is a sign of an outage, in which nobody could join.
    for index = 1, 2 do letters[index] = joins[index] and '-' or 'n' end
  end
  return letters
end
local outcomes = table.concat(judge())
local answer = {lasted, ended, is_announced, string.format('%.0f', now - ended_ms), outcomes}
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
-- Beside the deadline, whose form older releases know. An end that is written later than that counts for nothing.
if outcomes ~= '--' then
  redis.call('SET', (string.gsub(KEYS[1], 'room:(.*):meta$', 'outcomes:%1')), outcomes, 'EX', 7200)
end
-- For how long the two meet again only when nobody else waits (seconds).
local one, other = meta[1], meta[2]
if other < one then one, other = other, one end
redis.call('SET', '{match}:recent:' .. one .. ':' .. other, room, 'EX', 600)
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('ZREM', KEYS[3], 'join:' .. room, 'room:' .. room)
redis.call('ZADD', KEYS[3], now + 5000, table.concat({'end', room, ARGV[4], lasted, ended}, ':'))
return answer
