-- Remove the searches of several users. Where a socket is given, only the search of that socket.
--
-- KEYS[1] {match}:due
-- ARGV    of each: user, socket ('' for any)
-- returns of each the queue entry, or '' where there was none

local call = redis.call
local answers, deadlines, queues = {}, {KEYS[1]}, {}

local function leave(queue, user)
  if not queues[queue] then queues[queue] = {queue} end
  table.insert(queues[queue], user)
end

for index = 1, #ARGV, 2 do
  local user, wanted = ARGV[index], ARGV[index + 1]
  local key, answer = '{match}:searching:' .. user, ''
  local held = call(wanted == '' and 'GETDEL' or 'GET', key)
  if held then
    local level, topic, socket, entry_json = string.match(held, '^(%a+)\n([^\n]*)\n([^\n]*)\n%d+\n(.*)')
    if wanted == '' or wanted == socket then
      if wanted ~= '' then call('DEL', key) end
      -- A search of a release before this one has no pool.
      local pool = string.match(entry_json, '^{"pool":"([%w_]+)"')
      local queue = '{match}:queue:' .. (pool and pool .. ':' or '') .. level
      leave(queue, user)
      if topic ~= '' then leave(queue .. ':' .. topic, user) end
      deadlines[#deadlines + 1] = 'search:' .. user
      answer = entry_json
    end
  else
    deadlines[#deadlines + 1] = 'search:' .. user
  end
  answers[#answers + 1] = answer
end
for _, left in pairs(queues) do call('ZREM', unpack(left)) end
if #deadlines > 1 then call('ZREM', unpack(deadlines)) end
return answers
