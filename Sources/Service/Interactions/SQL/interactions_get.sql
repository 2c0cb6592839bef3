-- Each by its key, whatever the planner thinks of a table it has not analyzed yet: OFFSET 0 keeps it to that.
-- The columns are bounded (BoundedColumns.swift).
-- {months} are the bounds of the months that all of the ids are of (Months.swift).
SELECT interactions.*
FROM unnest($2::uuid[]) AS wanted
CROSS JOIN LATERAL (
  SELECT {columns}
  FROM parley.interactions
  WHERE tenant = $1::int4 AND id = wanted {months}
  OFFSET 0
) AS interactions
