-- Forget an invitation that is over.
--
-- KEYS[1] {match}:due   KEYS[2] {match}:inviting:{inviter}   KEYS[3] {match}:invited:{invitee}
-- ARGV    invitation
-- Returns 1.

redis.call('ZREM', KEYS[1], 'invite:' .. ARGV[1], 'inviter:' .. ARGV[1])
if redis.call('GET', KEYS[2]) == ARGV[1] then redis.call('DEL', KEYS[2]) end
redis.call('SREM', KEYS[3], ARGV[1])
return 1
