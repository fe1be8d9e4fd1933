-- For wrk: GET the URL, or POST new users where the argument is a word for their addresses.
-- In the end, the result as JSON.

local number = 0

function init(arguments)
  word = arguments[1]
end

function request()
  if not word then
    return wrk.format()
  end
  number = number + 1
  local body = string.format('{"email": "%s-%d@example.com", "full_name": "Ada"}', word, number)
  return wrk.format("POST", nil, {["content-type"] = "application/json"}, body)
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests": %d, "seconds": %f, "p50": %f, "p99": %f, "failed": %d}\n',
    summary.requests, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout
  ))
end
