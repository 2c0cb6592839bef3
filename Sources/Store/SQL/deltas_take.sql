-- Of one tenant, all of them; of every tenant, facts alone, up to so many deltas and, but for the last, bytes.
DELETE FROM parley.deltas
WHERE ctid = ANY (ARRAY(
  SELECT ctid
  FROM (
    SELECT ctid, sum(octet_length(additions)) OVER (ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before
    FROM parley.deltas
    WHERE CASE WHEN $1::int4 IS NULL THEN additions IS NOT NULL ELSE tenant = $1::int4 END
    LIMIT $2::int4
  ) AS first
  WHERE coalesce(bytes_before, 0) < $3::int8
))
RETURNING tenant, additions, recount_from, recount_to
