-- Store signals of a participant for a peer who does not get them now. A signal may be stored twice.
--
-- KEYS[1] {match}:room:{room}:meta
-- ARGV    user, their socket, how many to keep at most, the signals (JSON)
-- returns 1, or 0 where the room is gone, or has another socket of the user

local user = ARGV[1]
if redis.call('HGET', KEYS[1], 'socket:' .. user) ~= ARGV[2] then return 0 end
local signals = string.gsub(KEYS[1], 'meta$', 'signals:' .. user)
for index = 4, #ARGV do redis.call('RPUSH', signals, ARGV[index]) end
redis.call('LTRIM', signals, -ARGV[3], -1)
redis.call('PEXPIRE', signals, redis.call('PTTL', KEYS[1]))
return 1
