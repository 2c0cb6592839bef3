-- Whether facts wait to be folded, and a tenant that waits to be counted anew.
SELECT
  EXISTS (SELECT FROM parley.deltas WHERE additions IS NOT NULL),
  (SELECT tenant FROM parley.deltas WHERE recount_from IS NOT NULL LIMIT 1)
