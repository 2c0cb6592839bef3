-- A tenant, but for some, that has hours to be rebuilt.
SELECT tenant
FROM parley.deltas
WHERE recount_from IS NOT NULL AND tenant <> ALL ($1::int4[])
LIMIT 1
