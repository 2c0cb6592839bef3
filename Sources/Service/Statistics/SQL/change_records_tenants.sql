-- The tenants, but for some, of the first change records.
SELECT DISTINCT tenant
FROM (
  SELECT tenant FROM parley.deltas WHERE additions IS NOT NULL AND tenant <> ALL ($1::int4[]) LIMIT $2::int4
) AS first
