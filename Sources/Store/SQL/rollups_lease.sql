-- Holds the lease of the rollup job for the transaction, if nobody does. What others have locked is waited for no longer
-- than this meanwhile: it concerns one tenant, and others wait behind it.
SELECT set_config('lock_timeout', $1::text, true)
FROM parley.leases
WHERE name = 'rollups'
FOR UPDATE SKIP LOCKED
