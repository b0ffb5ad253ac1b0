-- Read whether users have a socket of a living web process, or are in a room.
-- KEYS[1] any key of the slot   ARGV ids of users
-- returns of each user 'in_call', 'online' or 'offline'
local living = {}
local found = {}
for position, user in ipairs(ARGV) do
  found[position] = 'offline'
  if redis.call('EXISTS', '{match}:in_room:' .. user) == 1 then
    found[position] = 'in_call'
  else
    for _, socket in ipairs(redis.call('ZRANGE', 'user:{match}:' .. user .. ':sockets', 0, -1)) do
      -- A web process that was killed has not removed its sockets.
      local process = string.match(socket, '^[^.]*')
      if living[process] == nil then
        living[process] = redis.call('EXISTS', 'worker:{match}:' .. process) == 1
      end
      if living[process] then
        found[position] = 'online'
        break
      end
    end
  end
end
return found
