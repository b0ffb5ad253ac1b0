-- Declare workers dead whose last heartbeat is older than a time.
--
-- KEYS[1] workers:{match}   KEYS[2] workers:{match}:lost
-- ARGV    the time (ms of Redis's clock, or +inf), id of the one worker in question ('' for all)
-- returns the ids of those declared dead

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local dead = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1])) do
  if ARGV[2] == '' or ARGV[2] == id then
    redis.call('ZREM', KEYS[1], id)
    redis.call('ZADD', KEYS[2], now, id)
    redis.call('DEL', 'worker:{match}:' .. id)
    dead[#dead + 1] = id
  end
end
return dead
