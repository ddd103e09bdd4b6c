-- Grabs for wrk: grab.lua METHOD PATH TOKENS COUNT DEPTH ONCE
--   TOKENS  a file with a token on each line, or - for requests without one
--   COUNT   how many of them are used
--   DEPTH   how many requests are sent at once
--   ONCE    1: no token is used twice; each thread takes every THREADS-th line from its own
--           first, and goes on with its last one when all are used (the caller counts claims)

local threads = 0

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

local requests = {}
local next_request = 0
local last_request = 0

local function read_tokens(file, count, step, first)
  local tokens, line_number = {}, 0
  for line in io.lines(file) do
    if line_number >= count then break end
    if line_number % step == first then tokens[#tokens + 1] = line end
    line_number = line_number + 1
  end
  return tokens
end

function init(args)
  local method, path, file = args[1], args[2], args[3]
  local count, depth, once = tonumber(args[4]), tonumber(args[5]), args[6] == "1"
  local head = method .. " " .. path .. " HTTP/1.1\r\nHost: localhost\r\n"
  if file == "-" then
    requests[1] = string.rep(head .. "\r\n", depth)
  elseif once then
    -- Whole requests, made beforehand: to put them together while it runs costs the server, which
    -- shares the processor, a tenth of its wins. 150 MB a thread for half a million.
    local before = head .. "Content-Length: 0\r\nAuthorization: Bearer "
    requests = read_tokens(file, count, tonumber(args[7]), number)
    for i = 1, #requests do requests[i] = before .. requests[i] .. "\r\n\r\n" end
    request = function()
      if next_request < last_request then next_request = next_request + 1 end
      return requests[next_request]
    end
  else
    local tokens = read_tokens(file, count, 1, 0)
    for first = 1, #tokens - depth + 1, depth do
      local together = {}
      for i = first, first + depth - 1 do
        together[#together + 1] = head .. "Content-Length: 0\r\nAuthorization: Bearer " .. tokens[i] .. "\r\n\r\n"
      end
      requests[#requests + 1] = table.concat(together)
    end
    next_request = math.floor(#requests / 2) * number
  end
  last_request = #requests
end

function request()
  next_request = next_request % last_request + 1
  return requests[next_request]
end
