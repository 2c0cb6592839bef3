-- Begins to record for some tenants: fails unless each name has that number in this database, and says of the rest of
-- the transaction that change records come with its rows (the trigger mark_inserted_hour lets them be).
SELECT
  CASE WHEN count(*) = cardinality($1::text[])
    THEN set_config('parley.inserts_are_counted', 'yes', true)
    ELSE parley.refuse_tenant_number()
  END
FROM unnest($1::text[], $2::int4[]) AS told (name, key)
JOIN parley.tenants USING (name, key)
