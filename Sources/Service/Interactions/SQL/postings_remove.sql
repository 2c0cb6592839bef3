-- Removes a tenant's posting lists of the hours from $2 up to, but not including, $3, which are rebuilt.
DELETE FROM parley.postings WHERE tenant = $1::int4 AND hour >= $2::int4 AND hour < $3::int4
