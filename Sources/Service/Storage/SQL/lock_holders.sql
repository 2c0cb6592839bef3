-- Who keeps readers from a table of parley's, or waits to: others wait behind that, too. Of another user's session its process
-- and its name are all that a reader may see.
SELECT format(
  '%s %s a lock on %s',
  coalesce(
    'process ' || pid || ' (' || coalesce(nullif(application_name, ''), 'without a name') || ')', 'a prepared transaction'),
  CASE WHEN granted THEN 'holds' ELSE 'waits for' END, relation::regclass)
FROM pg_locks
LEFT JOIN pg_stat_activity USING (pid)
WHERE locktype = 'relation' AND mode = 'AccessExclusiveLock'
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND relation IN (SELECT oid FROM pg_class WHERE relnamespace = 'parley'::regnamespace)
ORDER BY granted DESC, relation
LIMIT 3
