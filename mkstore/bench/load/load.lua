-- The load of `mkstore bench`: requests drawn at random from a file, and the result as one line of JSON.
--
-- wrk --script load.lua URL -- FILE RUN SEED DELAY
-- FILE   complete HTTP requests, each followed by a zero byte. Each 000UNIQUE000 in a request is replaced by
--        twelve characters that no other request has.
-- RUN    five characters at the beginning of that text
-- SEED   seed of the random numbers
-- DELAY  mean milliseconds before each request of a connection; 0 sends it at once

local requests, run, sent = {}, "", 0

function init(arguments)
  math.randomseed(tonumber(arguments[3]))
  run = arguments[2]
  local file = assert(io.open(arguments[1], "rb"))
  for request in file:read("*a"):gmatch("([^%z]+)%z") do
    local parts, from = {}, 1
    for first, last in request:gmatch("()000UNIQUE000()") do
      parts[#parts + 1] = request:sub(from, first - 1)
      from = last
    end
    parts[#parts + 1] = request:sub(from)
    requests[#requests + 1] = #parts > 1 and parts or request
  end
  file:close()
  local most = 2 * tonumber(arguments[4])
  if most > 0 then
    delay = function() return math.random(0, most) end
  end
end

function request()
  local chosen = requests[math.random(#requests)]
  if type(chosen) == "string" then
    return chosen
  end
  sent = sent + 1
  return table.concat(chosen, string.format("%s%07x", run, sent))
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests": %d, "seconds": %.6f, "connect": %d, "read": %d, "write": %d, "timeout": %d, "status": %d',
    summary.requests, summary.duration / 1e6, errors.connect, errors.read, errors.write, errors.timeout, errors.status))
  for _, percent in ipairs({50, 75, 90, 95, 99, 99.9}) do
    io.write(string.format(', "p%g": %.3f', percent, latency:percentile(percent) / 1e3))
  end
  io.write(string.format(', "p100": %.3f}\n', latency.max / 1e3))
end
