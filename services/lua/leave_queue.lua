-- Take a search back. With a socket given, only the search of that socket.
--
-- KEYS[1] match:searching:{user}
-- ARGV    user, socket ('' for any)
-- returns 1 where there was one, else 0

local held = redis.call(ARGV[2] == '' and 'GETDEL' or 'GET', KEYS[1])
if not held then return 0 end
local level, topic, socket = string.match(held, '^(%a+)\n([^\n]*)\n([^\n]*)\n')
if ARGV[2] ~= '' then
  if socket ~= ARGV[2] then return 0 end
  redis.call('DEL', KEYS[1])
end
local queue = 'match:queue:' .. level
redis.call('ZREM', queue, ARGV[1])
if topic ~= '' then redis.call('ZREM', queue .. ':' .. topic, ARGV[1]) end
return 1
