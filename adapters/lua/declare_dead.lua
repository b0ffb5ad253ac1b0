-- Declare workers dead whose last heartbeat is older than a time.
--
-- KEYS[1] workers:{match}   KEYS[2] workers:{match}:lost
-- ARGV    the time (ms of Redis's clock, or +inf), id of the one worker in question ('' for all)
-- returns the ids of those declared dead
-- Their last heartbeats are kept for as long as a call may last: the time of a declaration says nothing where no process ran.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local dead = {}
local found = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'WITHSCORES')
for index = 1, #found, 2 do
  local id = found[index]
  if ARGV[2] == '' or ARGV[2] == id then
    redis.call('SET', 'last_heartbeat:{match}:' .. id, found[index + 1], 'EX', 7200)
    redis.call('ZREM', KEYS[1], id)
    redis.call('ZADD', KEYS[2], now, id)
    redis.call('DEL', 'worker:{match}:' .. id)
    dead[#dead + 1] = id
  end
end
return dead
