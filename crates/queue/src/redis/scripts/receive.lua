-- Takes back what has outlived its visibility timeout, then hands messages out.
-- KEYS: ready, held, bodies. ARGV: how many at most (1 or more), the visibility timeout in
-- milliseconds, how many are taken back at most.
-- Returns receipt, receives and body of each message, one after the other.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local over = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, ARGV[3])
if #over > 0 then
  redis.call('ZREM', KEYS[2], unpack(over))
  redis.call('RPUSH', KEYS[1], unpack(over))
end
local entries = redis.call('LRANGE', KEYS[1], 0, ARGV[1] - 1)
if #entries == 0 then
  return {}
end
redis.call('LTRIM', KEYS[1], #entries, -1)
local ids, receives = {}, {}
for i, entry in ipairs(entries) do
  local id, before = string.match(entry, '^(.*):(%d+)$')
  ids[i] = id
  receives[i] = before + 1
end
local bodies = redis.call('HMGET', KEYS[3], unpack(ids))
local held, handed_out = {}, {}
for i, id in ipairs(ids) do
  if bodies[i] then
    local receipt = id .. ':' .. receives[i]
    held[#held + 1] = now + ARGV[2]
    held[#held + 1] = receipt
    handed_out[#handed_out + 1] = receipt
    handed_out[#handed_out + 1] = receives[i]
    handed_out[#handed_out + 1] = bodies[i]
  end
end
if #held > 0 then
  redis.call('ZADD', KEYS[2], unpack(held))
end
return handed_out
