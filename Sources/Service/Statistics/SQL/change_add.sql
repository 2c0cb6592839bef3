-- Adds a tenant's change record, and begins to record for the tenant as parley.begin_recording does. (It costs less than
-- that function, which a transaction of a few rows would feel.) What others have locked is waited for no longer than
-- {lock_max} in the transaction; the condition sets that before the number is looked for.
INSERT INTO parley.deltas (tenant, additions)
SELECT
  coalesce(
    (SELECT key FROM parley.tenants WHERE name = {name}::text AND key = {number}::int4 FOR KEY SHARE),
    parley.refuse_tenant_number()::int4),
  {additions}::bytea
WHERE set_config('parley.inserts_are_counted', 'yes', true) IS NOT NULL
  AND set_config('lock_timeout', {lock_max}::text, true) IS NOT NULL
