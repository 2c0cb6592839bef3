-- Whether a tenant can have interactions outside of some months, whose hours are from $3 up to $4. The rollups and the change
-- log tell it without a look at any other partition.
SELECT
  -- The first hour, of those from $2 up to $3, that has some.
  least(
    (
      SELECT start FROM parley.rollups
      WHERE tenant = $1::int4 AND grain = 4 AND start >= $2::int4 AND start < $3::int4
      ORDER BY start LIMIT 1
    ),
    (
      SELECT min(recount_from) FROM parley.deltas
      WHERE tenant = $1::int4 AND recount_from IS NOT NULL AND recount_from < $3::int4 AND recount_to > $2::int4
    )
  ),
  -- Whether there are change records that are not merged yet, of whatever hours.
  EXISTS (SELECT FROM parley.deltas WHERE tenant = $1::int4 AND additions IS NOT NULL),
  -- Whether an hour from $4 up to $5 has some. No server records any that is so far ahead, so that change records do not
  -- tell of these hours; their rows are of other programs, and the hours stale until they have rollups.
  EXISTS (
    SELECT FROM parley.rollups
    WHERE tenant = $1::int4 AND grain = 4 AND start >= $4::int4 AND start < $5::int4
  )
  OR EXISTS (
    SELECT FROM parley.deltas
    WHERE tenant = $1::int4 AND recount_from IS NOT NULL AND recount_from < $5::int4 AND recount_to > $4::int4
  )
