-- Discard the state of a participant's earlier socket, and the stored signals up to a `seq`: the peer has them.
--
-- KEYS[1] {match}:room:{room}:meta
-- ARGV    user, `seq`

redis.call('HDEL', KEYS[1], 'log:' .. ARGV[1])
local signals = string.gsub(KEYS[1], 'meta$', 'signals:' .. ARGV[1])
local oldest = redis.call('LINDEX', signals, 0)
while oldest and tonumber(string.match(oldest, '^%[(%d+)')) <= tonumber(ARGV[2]) do
  redis.call('LPOP', signals)
  oldest = redis.call('LINDEX', signals, 0)
end
return 1
