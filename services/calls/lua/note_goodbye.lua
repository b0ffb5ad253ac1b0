-- A participant's client says goodbye: where that is before the join of a match, whether they came back is looked at when
-- its time to join is over.
--
-- KEYS[1] {match}:in_room:{user}   KEYS[2] {match}:due
-- ARGV    user, socket, time to join (ms)
-- returns 1 where it is noted

local me, socket, join_ms = ARGV[1], ARGV[2], ARGV[3]
local held = redis.call('GET', KEYS[1]) or ''
local room, entry_json = string.match(held, '^([^\n]*)\n(.*)')
if not room or entry_json == '' or cjson.decode(entry_json).socket ~= socket then return 0 end
local names = {'createdAt', 'announced', 'connected', 'joins:' .. me, 'invitation'}
local meta = redis.call('HMGET', '{match}:room:' .. room .. ':meta', unpack(names))
if not meta[1] or not meta[2] or meta[3] or meta[4] or meta[5] then return 0 end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
-- Whose app was closed in the moment of the match does not know of it, as in close_room.lua.
if math.min(now - meta[1], now - meta[2]) < 2000 then return 0 end
local due = meta[1] + join_ms
redis.call('ZADD', KEYS[2], due, table.concat({'goodbye', room, me, string.format('%.0f', due)}, ':'))
return 1
