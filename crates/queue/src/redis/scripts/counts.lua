-- Counts without changing anything: what has outlived its timeout is visible already.
-- KEYS: ready, held.
-- Returns visible and invisible.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local over = redis.call('ZCOUNT', KEYS[2], '-inf', now)
return {
  redis.call('LLEN', KEYS[1]) + over,
  redis.call('ZCARD', KEYS[2]) - over,
}
