-- The numbers that have rows, rollups, posting lists or change records, and that the registry does not know. Each table
-- is walked from number to number by its index, whatever lies between.
WITH RECURSIVE
interactions AS (
  (SELECT tenant FROM parley.interactions ORDER BY tenant LIMIT 1)
  UNION ALL
  SELECT (SELECT tenant FROM parley.interactions WHERE tenant > last.tenant ORDER BY tenant LIMIT 1)
  FROM interactions AS last WHERE tenant IS NOT NULL
),
rollups AS (
  (SELECT tenant FROM parley.rollups ORDER BY tenant LIMIT 1)
  UNION ALL
  SELECT (SELECT tenant FROM parley.rollups WHERE tenant > last.tenant ORDER BY tenant LIMIT 1)
  FROM rollups AS last WHERE tenant IS NOT NULL
),
postings AS (
  (SELECT tenant FROM parley.postings ORDER BY tenant LIMIT 1)
  UNION ALL
  SELECT (SELECT tenant FROM parley.postings WHERE tenant > last.tenant ORDER BY tenant LIMIT 1)
  FROM postings AS last WHERE tenant IS NOT NULL
),
deltas AS (
  (SELECT tenant FROM parley.deltas ORDER BY tenant LIMIT 1)
  UNION ALL
  SELECT (SELECT tenant FROM parley.deltas WHERE tenant > last.tenant ORDER BY tenant LIMIT 1)
  FROM deltas AS last WHERE tenant IS NOT NULL
)
SELECT tenant, bool_or(is_interaction)
FROM (
  SELECT tenant, true AS is_interaction FROM interactions
  UNION ALL
  SELECT tenant, false FROM (TABLE rollups UNION TABLE postings UNION TABLE deltas) AS kept
) AS used
WHERE tenant IS NOT NULL AND NOT EXISTS (SELECT FROM parley.tenants WHERE key = used.tenant)
GROUP BY tenant
ORDER BY tenant
