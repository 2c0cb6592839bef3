-- Every chunk of an hour. NULL stands for what is too long to be any.
SELECT facet, CASE WHEN octet_length(ids) <= $3::int4 THEN ids END
FROM parley.postings
WHERE tenant = $1::int4 AND hour = $2::int4
