-- Record a worker's heartbeat. One whose entry is missing gets 0 until it joins again: Redis has lost its data, or the
-- others have declared the worker dead.
--
-- KEYS[1] workers:{match}   KEYS[2] workers:{match}:lost   KEYS[3] worker:{match}:{id}
-- ARGV    id, seconds until the heartbeat expires, seconds for which lost workers are kept, 1 to join
-- returns {1 where the entry was there or has been made now, else 0; Redis's time (ms); ids of the workers lost}

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local is_known = ARGV[4] == '1' or redis.call('ZSCORE', KEYS[1], ARGV[1])
if is_known then
  redis.call('ZADD', KEYS[1], now, ARGV[1])
  redis.call('ZREM', KEYS[2], ARGV[1])
  redis.call('SET', KEYS[3], '1', 'EX', ARGV[2])
end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[3] * 1000)
return {is_known and 1 or 0, now, redis.call('ZRANGE', KEYS[2], 0, -1)}
