-- an entry of the hash of uploads: name|stage|owner|until|expires|uri|jobs
-- stage u: somebody uploads it until then; r: ready; g: being deleted, until then; jobs by spaces
local function upload_of(uploads, digest)
  local entry = redis.call("HGET", uploads, digest)
  if not entry then return nil end
  local name, stage, owner, ends, expires, uri, jobs =
    string.match(entry, "^([^|]*)|([^|]*)|([^|]*)|(%d+)|(%d+)|([^|]*)|(.*)$")
  return {
    name = name, stage = stage, owner = owner, ends = tonumber(ends), expires = tonumber(expires), uri = uri,
    jobs = jobs,
  }
end

local function keep_upload(uploads, digest, one)
  local text = string.format(
    "%s|%s|%s|%.0f|%.0f|%s|%s", one.name, one.stage, one.owner, one.ends, one.expires, one.uri, one.jobs
  )
  redis.call("HSET", uploads, digest, text)
end

-- jobs with or without one of them
local function with_job(jobs, job)
  for one in string.gmatch(jobs, "%S+") do
    if one == job then return jobs end
  end
  return jobs == "" and job or jobs .. " " .. job
end

local function without_jobs(jobs, gone)
  local left = {}
  for one in string.gmatch(jobs, "%S+") do
    if not gone[one] then table.insert(left, one) end
  end
  return table.concat(left, " ")
end
