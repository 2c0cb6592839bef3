-- The hours of a tenant that have to be rebuilt.
SELECT recount_from, recount_to
FROM parley.deltas
WHERE tenant = $1::int4 AND recount_from IS NOT NULL AND recount_to IS NOT NULL
