-- upload_claim.lua: where a content lies at the provider, or leave to upload it.
--
-- KEYS[1]  uploads   HASH  sha-256 -> entry, see include/uploads.lua
-- ARGV[1]  now       ms; empty: the server's clock
-- ARGV[2]  digest    sha-256 of the content, hex
-- ARGV[3]  job       that needs it
-- ARGV[4]  owner     incarnation that would upload it
-- ARGV[5]  name      under which it would
-- ARGV[6]  claim_ms  it has so long to do it
-- ARGV[7]  spare_ms  a file that the provider deletes sooner counts as gone
--
-- Returns  {"ready", uri}
--          {"yours", name}   upload it; under an earlier owner's name, whose file may be there
--          {"wait", owner}   somebody uploads or deletes it
--- include clock
--- include uploads
local uploads, digest, job, owner = KEYS[1], ARGV[2], ARGV[3], ARGV[4]
local now, one = clock_ms(ARGV[1]), upload_of(uploads, digest)
if one and one.stage == "r" and one.expires - tonumber(ARGV[7]) > now then
  one.jobs = with_job(one.jobs, job)
  keep_upload(uploads, digest, one)
  return { "ready", one.uri }
end
if one and one.stage ~= "r" and (one.stage == "g" or one.ends > now) then
  return { "wait", one.owner }
end
local name = one and one.stage == "u" and one.name or ARGV[5]
local jobs = with_job(one and one.jobs or "", job)
keep_upload(uploads, digest, {
  name = name, stage = "u", owner = owner, ends = now + tonumber(ARGV[6]), expires = 0, uri = "", jobs = jobs,
})
return { "yours", name }
