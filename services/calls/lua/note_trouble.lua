-- Note that the line of a call is poor: neither of the two has a bad outcome of it.
--
-- KEYS[1] {match}:room:{room}:meta
-- returns 1 where the room is there

if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], 'troubled', 1)
return 1
