-- Close a room, once: whoever comes second finds nothing.
--
-- KEYS[1] match:room:{room}:meta   KEYS[2] match:room:{room}:users
-- ARGV    user, room, socket ('' for any: else the room closes only for the socket that searched or joined),
--         1 to close it only while not both have joined
-- returns {'not_in_room'} | {peer's user id, peer's socket, 1 where both had joined, own socket in it or ''}

if redis.call('SISMEMBER', KEYS[2], ARGV[1]) == 0 then return {'not_in_room'} end
local meta = redis.call('HMGET', KEYS[1], 'userAId', 'userBId')
local peer = meta[1] == ARGV[1] and meta[2] or meta[1]
local mine = redis.call('HMGET', KEYS[1], 'socket:' .. ARGV[1], 'search:' .. ARGV[1])
if ARGV[3] ~= '' and (mine[1] or mine[2]) ~= ARGV[3] then return {'not_in_room'} end
local theirs = redis.call('HMGET', KEYS[1], 'socket:' .. peer, 'search:' .. peer)
local both = (mine[1] and theirs[1]) and 1 or 0
if ARGV[4] == '1' and both == 1 then return {'not_in_room'} end
redis.call('DEL', KEYS[1], KEYS[2])
for _, user in ipairs({ARGV[1], peer}) do
  if redis.call('GET', 'match:in_room:' .. user) == ARGV[2] then redis.call('DEL', 'match:in_room:' .. user) end
end
return {peer, theirs[1] or theirs[2] or '', both, mine[1] or ''}
