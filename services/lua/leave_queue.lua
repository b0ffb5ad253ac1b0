-- Take a search back. With a socket given, only the search of that socket.
--
-- KEYS[1] match:searching:{user}   KEYS[2] match:due
-- ARGV    user, socket ('' for any)
-- returns the ticket, or nil where there was none

local held = redis.call(ARGV[2] == '' and 'GETDEL' or 'GET', KEYS[1])
if not held then
  redis.call('ZREM', KEYS[2], 'search:' .. ARGV[1])
  return nil
end
local level, topic, socket, ticket = string.match(held, '^(%a+)\n([^\n]*)\n([^\n]*)\n%d+\n(.*)')
if ARGV[2] ~= '' then
  if socket ~= ARGV[2] then return nil end
  redis.call('DEL', KEYS[1])
end
local queue = 'match:queue:' .. level
redis.call('ZREM', queue, ARGV[1])
if topic ~= '' then redis.call('ZREM', queue .. ':' .. topic, ARGV[1]) end
redis.call('ZREM', KEYS[2], 'search:' .. ARGV[1])
return ticket
