-- Take a search back. With a socket given, only the search of that socket.
--
-- KEYS[1] match:searching:{user}
-- ARGV    user, socket ('' for any)
-- returns 1 where there was one, else 0

local held = redis.call('GET', KEYS[1])
if not held then return 0 end
local ticket = cjson.decode(held)
if ARGV[2] ~= '' and ticket.socket ~= ARGV[2] then return 0 end
redis.call('DEL', KEYS[1])
redis.call('ZREM', 'match:queue:' .. ticket.level, ARGV[1])
if ticket.topic ~= '' then redis.call('ZREM', 'match:queue:' .. ticket.level .. ':' .. ticket.topic, ARGV[1]) end
return 1
