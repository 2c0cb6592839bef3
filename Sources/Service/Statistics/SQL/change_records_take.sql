-- Takes change records of the tenants that `{tenants}` tells, up to so many records and, but for the last, bytes. Those
-- of a newer format, which begin with a byte from `{newer}` to 127, are left for a newer server. Of one that is too long to be
-- any, the first byte is enough. `{shard}` says once more which tenant's, where tables are distributed: by that the
-- statement goes to one shard.
DELETE FROM parley.deltas
WHERE {shard} ctid = ANY (ARRAY(
  SELECT ctid
  FROM (
    SELECT ctid, sum(octet_length(additions)) OVER (ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before
    FROM parley.deltas
    WHERE additions IS NOT NULL
      AND {tenants}
      AND substr(additions, 1, 1) NOT BETWEEN {newer} AND '\x7f'
    LIMIT $2::int4
  ) AS first
  WHERE coalesce(bytes_before, 0) < $3::int8
))
RETURNING
  tenant,
  CASE WHEN octet_length(additions) <= $4::int4 THEN additions ELSE substr(additions, 1, 1) END,
  octet_length(additions)
