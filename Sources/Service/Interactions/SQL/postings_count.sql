-- How many chunks there are of some facets in some hours, up to a bound.
SELECT count(*)
FROM (
  SELECT FROM parley.postings
  WHERE tenant = $1::int4 AND facet = ANY ($2::int8[]) AND hour >= $3::int4 AND hour < $4::int4
  LIMIT $5::int4
) AS counted
