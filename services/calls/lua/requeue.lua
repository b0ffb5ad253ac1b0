-- Put a search back at its old position in the queue, unless its user searches again or is in a room.
--
-- KEYS[1] {match}:searching:{user}   KEYS[2] {match}:in_room:{user}   KEYS[3] {match}:due
-- ARGV    user, pool, level, topic ('' for none), socket, since (µs), queue entry, length of a search (ms)
-- returns 1 where it is back, else 0

if redis.call('EXISTS', KEYS[1], KEYS[2]) > 0 then return 0 end
local user, pool, level, topic, socket, since, entry_json, search_ms = unpack(ARGV)
-- Redis's clock, in ms: those of the servers may differ.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
-- A little longer than the search, so that its end still finds the socket to emit to.
redis.call('SET', KEYS[1], table.concat({level, topic, socket, since, entry_json}, '\n'), 'PX', search_ms + 5000)
redis.call('ZADD', KEYS[3], now + search_ms, 'search:' .. user)
if string.find(pool, '_partners$') or string.find(pool, '_course_%x+$') then
  redis.call('ZADD', '{match}:pools', now + search_ms, pool)
end
local queues = {'{match}:queue:' .. pool .. ':' .. level}
if topic ~= '' then queues[2] = queues[1] .. ':' .. topic end
for _, queue in ipairs(queues) do
  redis.call('ZADD', queue, since, user)
  redis.call('PEXPIRE', queue, search_ms)
end
return 1
