-- As the readers' role with no tenant set: the tables that it may read although no row security binds it there, and
-- those that show a row all the same.
SELECT oid::regclass::text
FROM pg_class
WHERE relnamespace = 'parley'::regnamespace AND relkind IN ('r', 'p')
  AND has_table_privilege(oid, 'SELECT') AND NOT row_security_active(oid)
UNION ALL
SELECT 'parley.interactions' WHERE EXISTS (SELECT 1 FROM parley.interactions)
UNION ALL
SELECT 'parley.rollups' WHERE EXISTS (SELECT 1 FROM parley.rollups)
UNION ALL
SELECT 'parley.postings' WHERE EXISTS (SELECT 1 FROM parley.postings)
UNION ALL
SELECT 'parley.deltas' WHERE EXISTS (SELECT 1 FROM parley.deltas)
