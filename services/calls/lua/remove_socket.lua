-- Remove a socket of a user.
-- KEYS[1] user:{match}:{id}:sockets   KEYS[2] user:{match}:{id}:background   ARGV socket
-- Returns nothing.
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('SREM', KEYS[2], ARGV[1])
return false
