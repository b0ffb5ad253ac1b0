-- Bind a participant's socket to the room; the first to join is the caller, unless a process knows who was.
--
-- KEYS[1] {match}:room:{room}:meta   KEYS[2] {match}:room:{room}:users   KEYS[3] {match}:due
-- ARGV    user, socket, room, the last `seq` that the user has received ('' or a number), joins of the user and of the peer
--         that the process knows (0 for none), 1 where it restores the binding of a socket, the user's role that it knows
--         ('' for none)
-- A join is counted unless the socket repeats the one that its process knows. A count exceeds all that are known, also
-- those that Redis has lost.
-- returns {'not_in_room'} | {'replaced'}, where another socket has joined since the binding to restore
--         | {role, peer's user id, peer's socket or '', now (ms) where this join makes the room a call, else 0, 1 where it
--         already was one, the socket this one replaces or '', how many times the user has joined, the user's saved state
--         ('' or JSON), ms that an absent peer still has, how many times the peer has joined, the last `seq` that the peer
--         had received by then ('' or a number), the user's stored signals, the number after which those of this join begin,
--         1 where a join has chosen the caller and not both clients have been informed since}

if redis.call('SISMEMBER', KEYS[2], ARGV[1]) == 0 then return {'not_in_room'} end
local me, room = ARGV[1], ARGV[3]
local meta = redis.call('HMGET', KEYS[1], 'userAId', 'userBId', 'caller', 'connected', 'socket:' .. me, 'log:' .. me)
local peer = meta[1] == me and meta[2] or meta[1]
local caller = meta[3] or (ARGV[8] == 'receiver' and peer or me)
local role = caller == me and 'caller' or 'receiver'
local replaced = ''
if meta[5] and meta[5] ~= ARGV[2] then replaced = meta[5] end
local joins = tonumber(redis.call('HGET', KEYS[1], 'joins:' .. me) or 0)
local known, is_restored = tonumber(ARGV[5]), ARGV[7] == '1'
if is_restored and replaced ~= '' and joins >= known then return {'replaced'} end
if not meta[3] then
  redis.call('HSET', KEYS[1], 'caller', caller)
  -- In a call whose data was lost, the clients may have other roles.
  if ARGV[8] == '' then redis.call('HSET', KEYS[1], 'chosen', 1) end
end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
-- Numbers of signals rise with the time of the join (us), because an older copy of Redis repeats its count; and where the clock
-- of another primary is behind, from those of the join before.
local first = tonumber(redis.call('HGET', KEYS[1], 'first:' .. me) or 0)
if is_restored or meta[5] ~= ARGV[2] or joins ~= known then
  joins = math.max(joins, known) + 1
  local at = clock[1] * 1000000 + clock[2]
  first = at > first and at or first + 1048576
  redis.call('HSET', KEYS[1], 'joins:' .. me, joins, 'first:' .. me, string.format('%.0f', first))
end
redis.call('HSET', KEYS[1], 'socket:' .. me, ARGV[2], 'heard:' .. me, ARGV[4])
-- State and signals stay until the peer has them: the process of this socket may die before that.
redis.call('HDEL', KEYS[1], 'away:' .. me)
local signals = redis.call('LRANGE', (string.gsub(KEYS[1], 'meta$', 'signals:' .. me)), 0, -1)
redis.call('ZREM', KEYS[3], 'grace:' .. room .. ':' .. me)

local peers = redis.call('HMGET', KEYS[1], 'socket:' .. peer, 'away:' .. peer, 'joins:' .. peer, 'heard:' .. peer)
local peer_joins = math.max(tonumber(peers[3] or 0), tonumber(ARGV[6]))
if peer_joins > tonumber(peers[3] or 0) then redis.call('HSET', KEYS[1], 'joins:' .. peer, peer_joins) end
-- The time when both were last there counts until both are there again.
if peers[1] then redis.call('HDEL', KEYS[1], 'until') end
local connects = 0
if not meta[4] and peers[1] then
  connects = string.format('%.0f', now)
  redis.call('HSET', KEYS[1], 'connected', connects)
  redis.call('ZREM', KEYS[3], 'join:' .. room)
  -- The call lasts no longer than its keys, which have a minute more. The other deadline is for the call's row to record
  -- its beginning: where this process dies before, another one writes it.
  local ends = now + (redis.call('TTL', KEYS[1]) - 60) * 1000
  redis.call('ZADD', KEYS[3], now + 5000, 'begin:' .. room .. ':' .. connects, ends, 'room:' .. room)
end
-- The join with which both are there informs both.
local is_chosen = redis.call('HEXISTS', KEYS[1], 'chosen')
if peers[1] then redis.call('HDEL', KEYS[1], 'chosen') end
local left = 0
if peers[2] then left = math.max(0, peers[2] - now) end
return {role, peer, peers[1] or '', connects, meta[4] and 1 or 0, replaced, joins, meta[6] or '', left, peer_joins,
  peers[4] or '', signals, string.format('%.0f', first), is_chosen}
