-- Whether change records wait to be merged, and a tenant that has hours to be rebuilt.
SELECT
  EXISTS (SELECT FROM parley.deltas WHERE additions IS NOT NULL),
  (SELECT tenant FROM parley.deltas WHERE recount_from IS NOT NULL LIMIT 1)
