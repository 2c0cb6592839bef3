-- The postings of some facets in the last hours, so many of them, that have any.
WITH newest AS (
  SELECT max(newest_of_one.hour) AS hour
  FROM unnest($2::int8[]) AS wanted
  CROSS JOIN LATERAL (
    SELECT hour FROM parley.postings
    WHERE tenant = $1::int4 AND facet = wanted AND hour >= $3::int4 AND hour < $4::int4
    ORDER BY hour DESC
    LIMIT 1
  ) AS newest_of_one
)
SELECT newest.hour, postings.ids
FROM newest
CROSS JOIN LATERAL (
  SELECT ids FROM parley.postings
  WHERE tenant = $1::int4 AND facet = ANY ($2::int8[])
    AND hour >= greatest($3::int4, newest.hour + 1 - $5::int4) AND hour <= newest.hour
) AS postings
