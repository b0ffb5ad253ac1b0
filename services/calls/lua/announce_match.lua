-- Note that `match_found` is about to be emitted to both: the row of the call is written.
--
-- KEYS[1] {match}:room:{room}:meta
-- returns 1, or 0 where one of the two is gone

if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local clock = redis.call('TIME')
redis.call('HSET', KEYS[1], 'announced', string.format('%.0f', clock[1] * 1000 + math.floor(clock[2] / 1000)))
return 1
