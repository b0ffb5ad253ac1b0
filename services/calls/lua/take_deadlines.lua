-- Take deadlines that have passed. Each comes again after a lease unless it is removed: its taker may die before that.
--
-- KEYS[1] {match}:due
-- ARGV    how many at most, lease ms
-- returns the entries

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local passed = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])
for _, entry in ipairs(passed) do redis.call('ZADD', KEYS[1], now + ARGV[2], entry) end
return passed
