-- upload_leave.lua: jobs need a content no more; with the last of them its file is to be deleted.
--
-- KEYS[1]    uploads   HASH  sha-256 -> entry, see include/uploads.lua
-- ARGV[1]    now       ms; empty: the server's clock
-- ARGV[2]    digest    sha-256 of the content, hex
-- ARGV[3]    claim_ms  the caller has so long to delete it
-- ARGV[4..]  job       ids
--
-- Returns  {"delete", name} | {"kept"}
--- include clock
--- include uploads
local uploads, digest = KEYS[1], ARGV[2]
local now, one, gone = clock_ms(ARGV[1]), upload_of(uploads, digest), {}
if not one then return { "kept" } end
for at = 4, #ARGV do gone[ARGV[at]] = true end
one.jobs = without_jobs(one.jobs, gone)
local busy = one.stage ~= "r" and one.ends > now
if one.jobs == "" and not busy then
  one.stage, one.ends = "g", now + tonumber(ARGV[3])
end
keep_upload(uploads, digest, one)
if one.jobs == "" and not busy then return { "delete", one.name } end
return { "kept" }
