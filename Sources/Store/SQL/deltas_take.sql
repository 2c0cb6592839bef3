-- Of one tenant, all of them; of every tenant, facts alone.
DELETE FROM parley.deltas
WHERE ctid = ANY (ARRAY(
  SELECT ctid FROM parley.deltas WHERE CASE WHEN $1::int4 IS NULL THEN additions IS NOT NULL ELSE tenant = $1::int4 END
  LIMIT $2::int4
))
RETURNING tenant, additions, recount_from, recount_to
