-- upload_gone.lua: a file was deleted at the provider.
--
-- KEYS[1]  uploads  HASH  sha-256 -> entry, see include/uploads.lua
-- ARGV[1]  digest   sha-256 of the content, hex
-- ARGV[2]  name     of the file
--
-- Returns  {"ok"} | {"stale"}
--- include uploads
local uploads, digest, name = KEYS[1], ARGV[1], ARGV[2]
local one = upload_of(uploads, digest)
if not one or one.stage ~= "g" or one.name ~= name then return { "stale" } end
redis.call("HDEL", uploads, digest)
return { "ok" }
