-- End a room that Redis has lost and that is not restored yet, for a participant who hangs up.
--
-- KEYS[1] {match}:room:{room}:meta   KEYS[2] {match}:room:{room}:users   KEYS[3] {match}:due
-- ARGV    user, peer's user id, room
-- returns now (ms), or nil where the room is there, or was closed the regular way a moment ago

local one, other = ARGV[1], ARGV[2]
if other < one then one, other = other, one end
local recent = '{match}:recent:' .. one .. ':' .. other
if redis.call('EXISTS', KEYS[1]) == 1 or redis.call('GET', recent) == ARGV[3] then return nil end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local ended = string.format('%.0f', now)
redis.call('SET', recent, ARGV[3], 'EX', 600)
redis.call('ZADD', KEYS[3], now + 5000, table.concat({'end', ARGV[3], ARGV[1], '-1', ended}, ':'))
return ended
