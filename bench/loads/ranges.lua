-- wrk asks for ranges of a file at random places, the same ones in every run.
-- Arguments: the size of the file, the length of each range, a seed.

function init(arguments)
  file_bytes, range_bytes = tonumber(arguments[1]), tonumber(arguments[2])
  math.randomseed(tonumber(arguments[3]))
  local template = wrk.format("GET", nil, {["Host"] = wrk.headers["Host"], ["Range"] = "bytes=@"})
  before, after = template:match("^(.*)@(.*)$")
end

function request()
  local start = math.random(0, file_bytes - range_bytes)
  return before .. string.format("%d-%d", start, start + range_bytes - 1) .. after
end
