-- What waits in a tenant's change log: so many records, whichever these are, and one more where there are more. NULL stands
-- for what is too long to be read now.
SELECT CASE WHEN octet_length(additions) <= $3::int4 THEN additions END, recount_from, recount_to
FROM parley.deltas
WHERE tenant = $1::int4
LIMIT $2::int4 + 1
