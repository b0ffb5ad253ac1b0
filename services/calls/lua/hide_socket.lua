-- Note that the app of a socket is in the background.
-- KEYS[1] user:{match}:{id}:background   ARGV socket, seconds to keep
-- Returns nothing.
redis.call('SADD', KEYS[1], ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[2])
return false
