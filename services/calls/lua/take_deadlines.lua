-- Take deadlines that have passed. Each comes again after a lease unless it is removed: its taker may die before that.
--
-- KEYS[1] {match}:due   KEYS[2] poll:{match}:{reader}
-- ARGV    how many at most, lease ms, number of this poll, number of the last one that Redis answered (0 for none)
-- returns the entries, or nil where Redis does not have that poll: it has lost its data, or has an older copy of it

if tonumber(redis.call('GET', KEYS[2]) or 0) < tonumber(ARGV[4]) then return nil end
redis.call('SET', KEYS[2], ARGV[3], 'EX', 3600)
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local passed = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])
for _, entry in ipairs(passed) do redis.call('ZADD', KEYS[1], now + ARGV[2], entry) end
return passed
