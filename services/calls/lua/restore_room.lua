-- Restore a room that Redis has lost, or the call that an older copy of it has as a match, from the row of the call.
--
-- KEYS[1] {match}:room:{room}:meta   KEYS[2] {match}:room:{room}:users   KEYS[3] {match}:due
-- ARGV    room, session, user a, user b, for how many ms it has been a call ('' where it is none), room seconds it has
--         left, grace ms, the caller ('' where that is not known), ms since this process last knows of the participants to
--         have been there ('' where they are)
-- Each participant has the grace to join again. Processes know of different times: the latest of them counts. A participant
-- whose grace is over in the copy was there until then; one whose grace is not over is away, and nothing was lost of that.
-- returns 'restored' | 'closed', where the room was closed the regular way, and its row is about to be ended | 'busy', where
--         a participant searches, or is in another room

local room, users = ARGV[1], {ARGV[3], ARGV[4]}
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local is_new = redis.call('EXISTS', KEYS[1]) == 0
local was_lost = is_new
if is_new then
  local one, other = ARGV[3], ARGV[4]
  if other < one then one, other = other, one end
  if redis.call('GET', '{match}:recent:' .. one .. ':' .. other) == room then return 'closed' end
  for _, user in ipairs(users) do
    if redis.call('EXISTS', '{match}:in_room:' .. user, '{match}:searching:' .. user) > 0 then return 'busy' end
  end
  redis.call('HSET', KEYS[1], 'createdAt', now, 'sessionId', ARGV[2], 'userAId', ARGV[3], 'userBId', ARGV[4],
    'announced', 1)
  redis.call('SADD', KEYS[2], ARGV[3], ARGV[4])
  redis.call('EXPIRE', KEYS[1], ARGV[6] + 60)
  redis.call('EXPIRE', KEYS[2], ARGV[6] + 60)
  for _, user in ipairs(users) do redis.call('SET', '{match}:in_room:' .. user, room, 'EX', ARGV[6] + 60) end
end
if ARGV[5] == '' then
  if is_new then redis.call('ZADD', KEYS[3], now + ARGV[7], 'join:' .. room) end
elseif redis.call('HEXISTS', KEYS[1], 'connected') == 0 then
  was_lost = true
  redis.call('HSET', KEYS[1], 'connected', string.format('%.0f', now - ARGV[5]), 'announced', 1)
  redis.call('ZREM', KEYS[3], 'join:' .. room)
  redis.call('ZADD', KEYS[3], now + ARGV[6] * 1000, 'room:' .. room)
  for _, user in ipairs(users) do
    if redis.call('HEXISTS', KEYS[1], 'socket:' .. user) == 0 then
      redis.call('HSET', KEYS[1], 'away:' .. user, string.format('%.0f', now + ARGV[7]))
      redis.call('ZADD', KEYS[3], now + ARGV[7], 'grace:' .. room .. ':' .. user)
    end
  end
end
-- Who had joined is lost, and who leaves such a call may do so because of it.
if was_lost then redis.call('HSET', KEYS[1], 'troubled', 1) end
if ARGV[8] ~= '' then redis.call('HSETNX', KEYS[1], 'caller', ARGV[8]) end
if ARGV[9] ~= '' then
  for _, user in ipairs(users) do
    local known = redis.call('HMGET', KEYS[1], 'socket:' .. user, 'until', 'away:' .. user)
    local latest = known[2]
    if not latest and known[3] and tonumber(known[3]) <= now then latest = known[3] end
    if not known[1] and (was_lost or latest) then
      redis.call('HSET', KEYS[1], 'until', string.format('%.0f', math.max(latest or 0, now - ARGV[9])))
    end
  end
end
return 'restored'
