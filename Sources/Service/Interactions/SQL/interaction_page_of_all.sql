-- For {source} of interaction_page.sql: all interactions of a range.
parley.interactions
WHERE tenant = $1::int4 AND id >= $2::uuid AND id < $3::uuid {months}
