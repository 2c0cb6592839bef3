-- The interactions of some keys of any tenants, each with its tenant last. OFFSET 0: key by key, whatever the planner
-- thinks of a table it has not analyzed yet. The columns are bounded (BoundedColumns.swift). {months} are the bounds of
-- the months that all of the ids are of (Months.swift): a month that somebody has locked is no matter for the others.
SELECT interactions.*, wanted.tenant
FROM unnest($1::int4[], $2::uuid[]) AS wanted (tenant, id)
CROSS JOIN LATERAL (
  SELECT {columns}
  FROM parley.interactions
  WHERE tenant = wanted.tenant AND id = wanted.id {months}
  OFFSET 0
) AS interactions
