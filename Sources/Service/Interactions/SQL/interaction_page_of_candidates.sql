-- For {source} of interaction_page.sql: the interactions with some ids. OFFSET 0 keeps the planner from going by the conditions
-- outside.
(
  SELECT interactions.*
  FROM unnest($2::uuid[]) AS candidate
  CROSS JOIN LATERAL (
    SELECT * FROM parley.interactions WHERE tenant = $1::int4 AND id = candidate {months} OFFSET 0
  ) AS interactions
) AS candidates
WHERE true
