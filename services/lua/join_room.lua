-- Bind a member's socket to the room; the first to come is the caller.
--
-- KEYS[1] match:room:{room}:meta   KEYS[2] match:room:{room}:users
-- ARGV    user, socket
-- returns {'not_in_room'} | {role, peer's user id, peer's socket or '', session id}

if redis.call('SISMEMBER', KEYS[2], ARGV[1]) == 0 then return {'not_in_room'} end
local meta = redis.call('HMGET', KEYS[1], 'userAId', 'userBId', 'caller', 'sessionId')
local peer = meta[1] == ARGV[1] and meta[2] or meta[1]
local role = 'receiver'
if not meta[3] or meta[3] == ARGV[1] then
  role = 'caller'
  redis.call('HSET', KEYS[1], 'caller', ARGV[1])
end
redis.call('HSET', KEYS[1], 'socket:' .. ARGV[1], ARGV[2])
return {role, peer, redis.call('HGET', KEYS[1], 'socket:' .. peer) or '', meta[4]}
