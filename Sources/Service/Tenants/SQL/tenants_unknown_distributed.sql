-- tenants_unknown.sql where tables are distributed: each node tells the numbers that it has, and the registry is looked at
-- where it is. It reads an index of each table to its end.
WITH used AS MATERIALIZED (
  SELECT DISTINCT tenant, true AS is_interaction FROM parley.interactions
  UNION ALL
  SELECT DISTINCT tenant, false FROM parley.rollups
  UNION ALL
  SELECT DISTINCT tenant, false FROM parley.postings
  UNION ALL
  SELECT DISTINCT tenant, false FROM parley.deltas
)
SELECT tenant, bool_or(is_interaction)
FROM used
WHERE NOT EXISTS (SELECT FROM parley.tenants WHERE key = used.tenant)
GROUP BY tenant
ORDER BY tenant
