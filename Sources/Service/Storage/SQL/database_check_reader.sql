-- As the readers' role: the tables that it may read although no row security binds it there.
SELECT oid::regclass::text
FROM pg_class
WHERE relnamespace = 'parley'::regnamespace AND relkind IN ('r', 'p')
  AND has_table_privilege(oid, 'SELECT') AND NOT row_security_active(oid)
