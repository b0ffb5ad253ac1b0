-- Take a search back. With a socket given, only the search of that socket.
--
-- KEYS[1] match:searching:{user}   KEYS[2] match:due
-- ARGV    user, socket ('' for any)
-- returns the ticket, or nil where there was none

local held = redis.call('GET', KEYS[1])
if not held then
  redis.call('ZREM', KEYS[2], 'search:' .. ARGV[1])
  return nil
end
local ticket = cjson.decode(held)
if ARGV[2] ~= '' and ticket.socket ~= ARGV[2] then return nil end
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], 'search:' .. ARGV[1])
redis.call('ZREM', 'match:queue:' .. ticket.level, ARGV[1])
if ticket.topic ~= '' then redis.call('ZREM', 'match:queue:' .. ticket.level .. ':' .. ticket.topic, ARGV[1]) end
return held
