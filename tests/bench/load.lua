-- Sends the requests in a file (separated by NUL) in turn, and prints a summary as JSON. With a period
-- in milliseconds, each connection sends one request per period, the first at a random time in it.
local requests, position = {}, 0

local function send_periodically(period, connections)
  local first = connections
  function delay()
    first = first - 1
    return first >= 0 and math.random(0, period) or period
  end
end

function init(arguments)
  local file = assert(io.open(arguments[1], "rb"))
  for text in file:read("*a"):gmatch("[^%z]+") do
    requests[#requests + 1] = text
  end
  file:close()
  position = tonumber(arguments[2]) % #requests
  if tonumber(arguments[3]) > 0 then
    send_periodically(tonumber(arguments[3]), tonumber(arguments[4]))
  end
end

function request()
  position = position % #requests + 1
  return requests[position]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests":%d,"microseconds":%d,"errors":%d,"p50":%.1f,"p99":%.1f}\n',
    summary.requests, summary.duration,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
