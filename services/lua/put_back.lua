-- Give a search its old place in the queue, unless its user has moved on.
--
-- KEYS[1] match:searching:{user}   KEYS[2] match:in_room:{user}
-- ARGV    ticket (JSON), search seconds
-- returns 1 where it is back, else 0

if redis.call('EXISTS', KEYS[1], KEYS[2]) > 0 then return 0 end
local ticket = cjson.decode(ARGV[1])
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
redis.call('ZADD', 'match:queue:' .. ticket.level, ticket.since, ticket.userId)
if ticket.topic ~= '' then
  redis.call('ZADD', 'match:queue:' .. ticket.level .. ':' .. ticket.topic, ticket.since, ticket.userId)
end
return 1
