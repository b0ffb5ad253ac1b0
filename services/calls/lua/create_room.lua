-- Make the room of two learners who were not found by a search: their invitation was accepted. Their searches end.
--
-- KEYS[1] {match}:due
-- ARGV    room, session, join ms, room seconds, topic ('' for none), level, invitation, then of the inviter and of the
--         invitee: user, queue entry (with the socket that gets `match_found`, and the invitation)
-- returns {'busy', 1 or 2: which of them is in a room} | {'answered'}, where both are in the room of this invitation
--         | {'created', then of each the queue entry of the search that ended, '' for none, and since when it waited (µs)}

local call = redis.call
local room, session, join_ms, room_seconds, topic, level, invitation = unpack(ARGV)
local users = {ARGV[8], ARGV[10]}
local entries = {ARGV[9], ARGV[11]}

for index, user in ipairs(users) do
  local held = call('GET', '{match}:in_room:' .. user)
  if held then
    local own = string.match(held, '^([^\n]*)')
    if call('HGET', '{match}:room:' .. own .. ':meta', 'invitation') == invitation then return {'answered'} end
    return {'busy', index}
  end
end

local answer = {'created'}
for _, user in ipairs(users) do
  local key, ended, since = '{match}:searching:' .. user, '', ''
  local held = call('GETDEL', key)
  if held then
    local queue_level, queue_topic, began, entry_json = string.match(held, '^(%a+)\n([^\n]*)\n[^\n]*\n(%d+)\n(.*)')
    -- A search of a release before pools has none.
    local pool = string.match(entry_json, '^{"pool":"([%w_]+)"')
    local queue = '{match}:queue:' .. (pool and pool .. ':' or '') .. queue_level
    call('ZREM', queue, user)
    if queue_topic ~= '' then call('ZREM', queue .. ':' .. queue_topic, user) end
    ended, since = entry_json, began
  end
  call('ZREM', KEYS[1], 'search:' .. user)
  answer[#answer + 1], answer[#answer + 2] = ended, since
end

local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local room_until = string.format('%.0f', now + (room_seconds + 60) * 1000)
local members, meta = '{match}:room:' .. room .. ':users', '{match}:room:' .. room .. ':meta'
call('SADD', members, users[1], users[2])
call('PEXPIREAT', members, room_until)
call('HSET', meta, 'createdAt', string.format('%.0f', now), 'topic', topic, 'level', level, 'sessionId', session,
  'userAId', users[1], 'userBId', users[2], 'invitation', invitation)
call('PEXPIREAT', meta, room_until)
for index, user in ipairs(users) do
  call('SET', '{match}:in_room:' .. user, room .. '\n' .. entries[index], 'PXAT', room_until)
end
call('ZADD', KEYS[1], now + join_ms, 'join:' .. room)
return answer
