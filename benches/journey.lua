-- Requests for wrk: argv is the token, then "get" or the file whose content is posted. Prints one line of figures.
function init(arguments)
  wrk.headers["Authorization"] = "Bearer " .. arguments[1]
  wrk.headers["Host"] = "api.example.com"
  if arguments[2] == "get" then
    wrk.path = "/tenants/acme/accounts/42"
  else
    local file = assert(io.open(arguments[2], "rb"))
    wrk.method = "POST"
    wrk.path = "/tenants/acme/chat"
    wrk.headers["Content-Type"] = "application/json"
    wrk.body = file:read("a")
    file:close()
  end
  request_text = wrk.format()
end

function request()
  return request_text
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format("FIGURES %d %d %d %d %d\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
