-- For {source} of interaction_page.sql: the newest {count} interactions of a range.
(
  SELECT * FROM parley.interactions
  WHERE tenant = $1::int4 AND id >= $2::uuid AND id < $3::uuid {months}
  ORDER BY id DESC
  LIMIT {count}
) AS newest
WHERE true
