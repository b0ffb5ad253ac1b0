-- Count one more socket of a user, and take out of the count those that have no place any more.
-- KEYS[1] user:{id}:sockets   ARGV socket, now (ms), most, seconds to keep
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[4])
local excess = redis.call('ZCARD', KEYS[1]) - tonumber(ARGV[3])
local replaced = {}
if excess <= 0 then
  return replaced
end
local living = {}
for _, socket in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  -- A worker that was killed did not say goodbye for its sockets.
  if socket == ARGV[1] or redis.call('EXISTS', 'worker:' .. string.match(socket, '^[^.]*')) == 1 then
    living[#living + 1] = socket
  else
    redis.call('ZREM', KEYS[1], socket)
  end
end
for place = 1, #living - tonumber(ARGV[3]) do
  redis.call('ZREM', KEYS[1], living[place])
  replaced[#replaced + 1] = living[place]
end
return replaced
