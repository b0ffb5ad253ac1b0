-- Add a socket of a user, and remove the oldest ones where there are more than the limit.
-- KEYS[1] user:{match}:{id}:sockets   KEYS[2] {match}:invited:{id}   ARGV socket, now (ms), limit, seconds to keep
-- returns '1' where the user may have an open invitation, else '0', and the sockets that were removed
-- An invitation is noted before its sockets are listed: they include this one, or it is known here.
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[4])
local excess = redis.call('ZCARD', KEYS[1]) - tonumber(ARGV[3])
local replaced = {tostring(redis.call('EXISTS', KEYS[2]))}
if excess <= 0 then
  return replaced
end
local living = {}
for _, socket in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  -- A web process that was killed has not removed its sockets.
  if socket == ARGV[1] or redis.call('EXISTS', 'worker:{match}:' .. string.match(socket, '^[^.]*')) == 1 then
    living[#living + 1] = socket
  else
    redis.call('ZREM', KEYS[1], socket)
  end
end
for index = 1, #living - tonumber(ARGV[3]) do
  redis.call('ZREM', KEYS[1], living[index])
  replaced[#replaced + 1] = living[index]
end
return replaced
