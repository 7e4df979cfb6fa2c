-- upload_note.lua: what came of an upload, or that a file is gone from the provider before its time.
--
-- KEYS[1]  uploads  HASH  sha-256 -> entry, see include/uploads.lua
-- ARGV[1]  digest   sha-256 of the content, hex
-- ARGV[2]  uri      where it lies; empty: it was not uploaded, and another may try at once
-- ARGV[3]  owner    who uploaded it; empty: the file at that uri is gone
-- ARGV[4]  expires  ms, when the provider deletes it
--
-- Returns  {"ok"} | {"stale"}   the entry is somebody else's, or says something else by now
--- include uploads
local uploads, digest, uri, owner = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local one = upload_of(uploads, digest)
if not one then return { "stale" } end
if owner == "" then
  if one.stage ~= "r" or one.uri ~= uri then return { "stale" } end
  one.expires = 0
elseif one.stage ~= "u" or one.owner ~= owner then
  return { "stale" }
elseif uri == "" then
  one.ends = 0
else
  one.stage, one.uri, one.expires = "r", uri, tonumber(ARGV[4])
end
keep_upload(uploads, digest, one)
return { "ok" }
