-- The load of `mkstore bench`: requests drawn at random from a file, and the result as one line of JSON.
--
-- wrk --script load.lua URL -- FILE RUN SEED DELAY
-- FILE   complete HTTP requests, each followed by a zero byte. The twelve characters 000UNIQUE000 in a request are
--        replaced by text that no other request has.
-- RUN    five characters at the beginning of that text
-- SEED   seed of the random numbers
-- DELAY  mean milliseconds before each request of a connection; 0 sends it at once

local heads, tails, run, sent = {}, {}, "", 0

function init(arguments)
  math.randomseed(tonumber(arguments[3]))
  run = arguments[2]
  local file = assert(io.open(arguments[1], "rb"))
  for request in file:read("*a"):gmatch("([^%z]+)%z") do
    local first, last = request:find("000UNIQUE000", 1, true)
    heads[#heads + 1] = first and request:sub(1, first - 1) or request
    tails[#tails + 1] = first and request:sub(last + 1) or false
  end
  file:close()
  local most = 2 * tonumber(arguments[4])
  if most > 0 then
    delay = function() return math.random(0, most) end
  end
end

function request()
  local number = math.random(#heads)
  local tail = tails[number]
  if not tail then
    return heads[number]
  end
  sent = sent + 1
  return heads[number] .. string.format("%s%07x", run, sent) .. tail
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests": %d, "seconds": %.6f, "connect": %d, "read": %d, "write": %d, "timeout": %d, "status": %d',
    summary.requests, summary.duration / 1e6, errors.connect, errors.read, errors.write, errors.timeout, errors.status))
  for _, percent in ipairs({50, 75, 90, 95, 99, 99.9, 100}) do
    io.write(string.format(', "p%g": %.3f', percent, latency:percentile(percent) / 1e3))
  end
  io.write("}\n")
end
