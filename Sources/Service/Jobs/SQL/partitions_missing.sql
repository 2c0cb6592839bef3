-- Those of some times, in milliseconds, whose month has no partition.
SELECT milliseconds
FROM unnest($1::int8[]) AS ahead (milliseconds)
WHERE to_regclass(
  'parley.interactions_' || to_char(to_timestamp(milliseconds / 1000.0) AT TIME ZONE 'UTC', 'YYYY_MM')) IS NULL
ORDER BY milliseconds
