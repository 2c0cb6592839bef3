-- deltas_take.sql of one tenant.
DELETE FROM parley.deltas
WHERE ctid = ANY (ARRAY(
  SELECT ctid
  FROM (
    SELECT ctid, sum(octet_length(additions)) OVER (ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before
    FROM parley.deltas
    WHERE additions IS NOT NULL
      AND tenant = $1::int4
      AND substr(additions, 1, 1) NOT BETWEEN '\x01' AND '\x7f'
    LIMIT $2::int4
  ) AS first
  WHERE coalesce(bytes_before, 0) < $3::int8
))
RETURNING
  tenant,
  CASE WHEN octet_length(additions) <= $4::int4 THEN additions ELSE substr(additions, 1, 1) END,
  octet_length(additions)
