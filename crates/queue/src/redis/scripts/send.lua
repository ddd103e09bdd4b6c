-- Adds messages to a queue.
-- KEYS: ready, bodies. ARGV: what all ids begin with, then the bodies.
local ready, bodies = {}, {}
for i = 2, #ARGV do
  local id = ARGV[1] .. '.' .. (i - 1)
  ready[i - 1] = id .. ':0'
  bodies[#bodies + 1] = id
  bodies[#bodies + 1] = ARGV[i]
end
redis.call('HSET', KEYS[2], unpack(bodies))
redis.call('RPUSH', KEYS[1], unpack(ready))
return #ready
