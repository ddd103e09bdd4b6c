-- Deletes received messages or makes them visible again. A receipt fits while its message is
-- held by the receive that it is of, and its time is not over.
-- KEYS: ready, held, bodies. ARGV: `delete` or `release`, then the receipts, none of them twice.
-- Returns how many fitted.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local fitting, ids = {}, {}
for i = 2, #ARGV do
  local held_until = redis.call('ZSCORE', KEYS[2], ARGV[i])
  if held_until and tonumber(held_until) > now then
    fitting[#fitting + 1] = ARGV[i]
    ids[#ids + 1] = string.match(ARGV[i], '^(.*):%d+$')
  end
end
if #fitting > 0 then
  redis.call('ZREM', KEYS[2], unpack(fitting))
  if ARGV[1] == 'delete' then
    redis.call('HDEL', KEYS[3], unpack(ids))
  else
    redis.call('RPUSH', KEYS[1], unpack(fitting))
  end
end
return #fitting
