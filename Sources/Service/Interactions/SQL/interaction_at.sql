-- The id of a tenant's interaction at a place in a range, the oldest at 0.
SELECT id
FROM parley.interactions
WHERE tenant = $1::int4 AND id >= $2::uuid AND id < $3::uuid
ORDER BY id
OFFSET $4::int4
LIMIT 1
