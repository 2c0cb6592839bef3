-- Whether a newer server has left rollups of some hours and days of a tenant, or change records of any, in a format of
-- its own.
SELECT EXISTS (
    SELECT FROM parley.rollups
    WHERE tenant = $1::int4 AND grain = ANY ('{0,2,4}'::int2[]) AND start >= $2::int4 AND start < $3::int4
      AND substr(sums, 1, 1) BETWEEN {newer_rollup} AND '\x7f'
  )
  OR EXISTS (
    SELECT FROM parley.rollups
    WHERE tenant = $1::int4 AND grain = ANY ('{1,3}'::int2[]) AND start >= $4::int4 AND start < $5::int4
      AND substr(sums, 1, 1) BETWEEN {newer_rollup} AND '\x7f'
  )
  OR EXISTS (
    SELECT FROM parley.deltas
    WHERE tenant = $1::int4 AND substr(additions, 1, 1) BETWEEN {newer_change_record} AND '\x7f'
  )
