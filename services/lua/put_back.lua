-- Give a search its old place in the queue, unless its user has moved on.
--
-- KEYS[1] match:searching:{user}   KEYS[2] match:in_room:{user}   KEYS[3] match:due
-- ARGV    ticket (JSON), search ms
-- returns 1 where it is back, else 0

if redis.call('EXISTS', KEYS[1], KEYS[2]) > 0 then return 0 end
local ticket = cjson.decode(ARGV[1])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2] + 5000)
redis.call('ZADD', KEYS[3], now + ARGV[2], 'search:' .. ticket.userId)
local queues = {'match:queue:' .. ticket.level}
if ticket.topic ~= '' then queues[2] = queues[1] .. ':' .. ticket.topic end
for _, queue in ipairs(queues) do
  redis.call('ZADD', queue, string.format('%.0f', ticket.since), ticket.userId)
  redis.call('PEXPIRE', queue, ARGV[2])
end
return 1
