-- Note an open invitation: the deadline at which it expires, and that the two learners have one.
--
-- KEYS[1] {match}:due   KEYS[2] {match}:inviting:{inviter}   KEYS[3] {match}:invited:{invitee}
-- ARGV    invitation, ms that are left
-- Returns 1. What is left over, of an invitation that was never written, expires by itself.

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
redis.call('ZADD', KEYS[1], now + ARGV[2], 'invite:' .. ARGV[1])
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2] + 5000)
redis.call('SADD', KEYS[3], ARGV[1])
if redis.call('PTTL', KEYS[3]) < ARGV[2] + 5000 then redis.call('PEXPIRE', KEYS[3], ARGV[2] + 5000) end
return 1
