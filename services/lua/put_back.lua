-- Give a search its old place in the queue, unless its user has moved on.
--
-- KEYS[1] match:searching:{user}   KEYS[2] match:in_room:{user}
-- ARGV    ticket (JSON), search seconds
-- returns 1 where it is back, else 0

if redis.call('EXISTS', KEYS[1], KEYS[2]) > 0 then return 0 end
local ticket = cjson.decode(ARGV[1])
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
local queues = {'match:queue:' .. ticket.level}
if ticket.topic ~= '' then queues[2] = queues[1] .. ':' .. ticket.topic end
for _, queue in ipairs(queues) do
  redis.call('ZADD', queue, ticket.since, ticket.userId)
  redis.call('EXPIRE', queue, ARGV[2])
end
return 1
