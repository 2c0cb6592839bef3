-- How many partitions there are, and whether some are of months that nobody can record into yet, as somebody made them.
SELECT
  count(*),
  coalesce(
    bool_or(
      relname ~ '^interactions_\d{4}_\d{2}$'
      AND relname > 'interactions_' || to_char(now() AT TIME ZONE 'UTC' + interval '4 months', 'YYYY_MM')),
    false)
FROM pg_inherits
JOIN pg_class ON pg_class.oid = inhrelid
WHERE inhparent = 'parley.interactions'::regclass
