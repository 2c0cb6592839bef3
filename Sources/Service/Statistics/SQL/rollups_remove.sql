-- Removes a tenant's rollups of one grain and of the hours from $3 up to, but not including, $4, which are rebuilt.
DELETE FROM parley.rollups
WHERE tenant = $1::int4 AND grain = $2::int2 AND start >= $3::int4 AND start < $4::int4
