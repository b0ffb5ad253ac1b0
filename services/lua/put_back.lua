-- Give a search its old place in the queue, unless its user has moved on.
--
-- KEYS[1] match:searching:{user}   KEYS[2] match:in_room:{user}
-- ARGV    since (ms), user, level, topic ('' for none), socket, ticket, search seconds
-- returns 1 where it is back, else 0

if redis.call('EXISTS', KEYS[1], KEYS[2]) > 0 then return 0 end
local since, user, level, topic, socket, ticket, search_seconds = unpack(ARGV)
redis.call('SET', KEYS[1], level .. '\n' .. topic .. '\n' .. socket .. '\n' .. ticket, 'EX', search_seconds)
local queues = {'match:queue:' .. level}
if topic ~= '' then queues[2] = queues[1] .. ':' .. topic end
for _, queue in ipairs(queues) do
  redis.call('ZADD', queue, since, user)
  redis.call('EXPIRE', queue, search_seconds)
end
return 1
