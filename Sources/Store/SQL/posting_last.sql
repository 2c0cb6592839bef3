-- The chunk of an hour that may have room.
SELECT chunk, ids FROM parley.postings
WHERE tenant = $1::int4 AND facet = $2::int8 AND hour = $3::int4
ORDER BY chunk DESC
LIMIT 1
