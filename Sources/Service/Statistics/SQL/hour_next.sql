-- The first hour, from one on, that a tenant has rows, rollups or posting lists of. (What change records add has rows.)
SELECT least(
  (
    SELECT (parley.id_milliseconds(id) / 3600000)::int4 FROM parley.interactions
    WHERE tenant = $1::int4 AND id >= parley.id_lower_bound(to_timestamp($2::int4 * 3600::float8))
    ORDER BY id LIMIT 1
  ),
  (
    SELECT min(first.start)
    FROM generate_series(0, 4) AS every (grain)
    CROSS JOIN LATERAL (
      SELECT start FROM parley.rollups
      WHERE tenant = $1::int4 AND rollups.grain = every.grain::int2 AND start >= $2::int4
      ORDER BY start LIMIT 1
    ) AS first
  ),
  (SELECT min(hour) FROM parley.postings WHERE tenant = $1::int4 AND hour >= $2::int4)
)
