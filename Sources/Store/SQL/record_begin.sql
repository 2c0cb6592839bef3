-- Begins to record for some tenants: fails unless each name has that number in this database, and says of the rest of
-- the transaction that change records come with its rows (the trigger mark_inserted_hour lets them be).
--
-- The lock is what a foreign key would take. It keeps the tenants' names and numbers as they are until the rows are
-- committed: a transaction that gives a tenant another number, as a restore does, waits for this one or comes first.
SELECT
  CASE WHEN count(*) = cardinality($1::text[])
    THEN set_config('parley.inserts_are_counted', 'yes', true)
    ELSE parley.refuse_tenant_number()
  END
FROM (
  SELECT
  FROM unnest($1::text[], $2::int4[]) AS told (name, key)
  JOIN parley.tenants USING (name, key)
  FOR KEY SHARE OF tenants
) AS held
