-- A participant's socket is gone: a call waits for the user within the grace, a match that was not joined is over.
--
-- KEYS[1] {match}:room:{room}:meta   KEYS[2] {match}:due
-- ARGV    user, room, socket (or, ending in '.', the web process that died with it), grace ms, saved state (JSON, or ''),
--         ms since the participant was last known to be there ('' where that is now)
-- returns {'not_here'} | {'unjoined'} | {'away', peer's socket or '', how many times the user has joined}

local me = ARGV[1]
local meta = redis.call('HMGET', KEYS[1], 'userAId', 'userBId', 'connected', 'socket:' .. me)
if not meta[1] then return {'not_here'} end
local socket = meta[4]
-- A user who has not joined is in the room with the socket that searched.
if not socket and not meta[3] then
  local held = redis.call('GET', '{match}:in_room:' .. me) or ''
  local found, entry_json = string.match(held, '^([^\n]*)\n(.*)')
  if found == ARGV[2] then socket = cjson.decode(entry_json).socket end
end
if not socket or string.sub(socket, 1, #ARGV[3]) ~= ARGV[3] then return {'not_here'} end
if not meta[3] then return {'unjoined'} end

local peer = meta[1] == me and meta[2] or meta[1]
local clock = redis.call('TIME')
local deadline = clock[1] * 1000 + math.floor(clock[2] / 1000) + ARGV[4]
redis.call('HDEL', KEYS[1], 'socket:' .. me)
-- Of a call with a drop neither has a bad outcome: who leaves may do so because of it.
redis.call('HSET', KEYS[1], 'away:' .. me, string.format('%.0f', deadline), 'troubled', 1)
if ARGV[6] ~= '' then
  -- Both were there until the first of them was not.
  local known = deadline - ARGV[4] - ARGV[6]
  known = math.min(known, redis.call('HGET', KEYS[1], 'until') or known)
  redis.call('HSET', KEYS[1], 'until', string.format('%.0f', known))
end
if ARGV[5] ~= '' then
  redis.call('HSET', KEYS[1], 'log:' .. me, ARGV[5])
  redis.call('DEL', (string.gsub(KEYS[1], 'meta$', 'signals:' .. me))) -- the state has them too
end
redis.call('ZADD', KEYS[2], deadline, 'grace:' .. ARGV[2] .. ':' .. me)
local found = redis.call('HMGET', KEYS[1], 'socket:' .. peer, 'joins:' .. me)
return {'away', found[1] or '', tonumber(found[2] or 0)}
