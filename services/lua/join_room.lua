-- Bind a member's socket to the room; the first to come is the caller.
--
-- KEYS[1] match:room:{room}:meta   KEYS[2] match:room:{room}:users
-- ARGV    user, socket
-- returns {'not_in_room'} | {role, peer's user id, peer's socket or '', session id, 1 where this completed the room}

if redis.call('SISMEMBER', KEYS[2], ARGV[1]) == 0 then return {'not_in_room'} end
local meta = redis.call('HMGET', KEYS[1], 'userAId', 'userBId', 'caller', 'sessionId')
local peer = meta[1] == ARGV[1] and meta[2] or meta[1]
local role = 'receiver'
if not meta[3] or meta[3] == ARGV[1] then
  role = 'caller'
  redis.call('HSET', KEYS[1], 'caller', ARGV[1])
end
local was_joined = redis.call('HEXISTS', KEYS[1], 'socket:' .. ARGV[1])
redis.call('HSET', KEYS[1], 'socket:' .. ARGV[1], ARGV[2])
local peer_socket = redis.call('HGET', KEYS[1], 'socket:' .. peer) or ''
local completed = (was_joined == 0 and peer_socket ~= '') and 1 or 0
return {role, peer, peer_socket, meta[4], completed}
