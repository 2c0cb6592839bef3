-- Holds a lease for the transaction, if nobody does. What others have locked is waited for no longer than this
-- meanwhile, because other work waits behind it.
SELECT set_config('lock_timeout', $2::text, true)
FROM parley.leases
WHERE name = $1::text
FOR UPDATE SKIP LOCKED
