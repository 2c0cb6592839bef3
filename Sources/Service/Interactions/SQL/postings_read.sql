-- The newest postings of some facets in some hours: so many chunks, and what else their hours have. With each
-- the first hour that was read to its end. NULL stands for what is too long to be any. Of more than $7 chunks, one more
-- than that is returned, whichever these are.
WITH newest AS (
  SELECT hour
  FROM unnest($2::int8[]) AS wanted
  CROSS JOIN LATERAL (
    SELECT hour FROM parley.postings
    WHERE tenant = $1::int4 AND facet = wanted AND hour >= $3::int4 AND hour < $4::int4
    ORDER BY hour DESC, chunk DESC
    LIMIT $5::int4
  ) AS newest_of_one
  ORDER BY hour DESC
  LIMIT $5::int4
),
first AS (SELECT CASE WHEN count(*) < $5::int4 THEN $3::int4 ELSE min(hour) END AS hour FROM newest)
SELECT first.hour, postings.hour, CASE WHEN octet_length(postings.ids) <= $6::int4 THEN postings.ids END
FROM first
CROSS JOIN unnest($2::int8[]) AS wanted
CROSS JOIN LATERAL (
  SELECT hour, ids FROM parley.postings
  WHERE tenant = $1::int4 AND facet = wanted AND hour >= first.hour AND hour < $4::int4
) AS postings
LIMIT $7::int4 + 1
