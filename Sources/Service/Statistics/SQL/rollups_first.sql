-- The first hour, of those from $2 up to $3, of which a tenant has rollups.
SELECT start FROM parley.rollups
WHERE tenant = $1::int4 AND grain = 4 AND start >= $2::int4 AND start < $3::int4
ORDER BY start
LIMIT 1
