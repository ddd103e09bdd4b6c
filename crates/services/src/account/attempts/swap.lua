-- Puts one attempt in the place of another, for many users; each on its own.
-- KEYS: where each user's attempt is. ARGV: of each what is to be there now, what is to be there
-- from then on (empty: nothing), and for how many milliseconds.
-- Returns of each 1 when it is done, else what was there instead.
local swapped = {}
for i, key in ipairs(KEYS) do
  local from, to, keep_ms = ARGV[i * 3 - 2], ARGV[i * 3 - 1], ARGV[i * 3]
  local found = redis.call('GET', key) or ''
  if found ~= from then
    swapped[i] = found
  else
    if to ~= '' then
      redis.call('SET', key, to, 'PX', keep_ms)
    elseif from ~= '' then
      redis.call('DEL', key)
    end
    swapped[i] = 1
  end
end
return swapped
