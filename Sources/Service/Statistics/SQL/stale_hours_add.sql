-- Has hours of a tenant rebuilt, if they are not to be already.
INSERT INTO parley.deltas (tenant, recount_from, recount_to)
SELECT $1::int4, $2::int4, $3::int4
WHERE NOT EXISTS (
  SELECT FROM parley.deltas
  WHERE tenant = $1::int4 AND recount_from IS NOT NULL AND recount_from <= $2::int4 AND recount_to >= $3::int4
)
