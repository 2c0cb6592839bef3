-- What a server needs of a database before it writes anything there.
SELECT
  current_setting('server_version_num')::int4,
  current_setting('server_version'),
  current_setting('server_encoding'),
  current_setting('row_security') = 'on',
  pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on',
  session_user::text,
  current_database()::text,
  EXISTS (SELECT FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE nspname = 'parley'),
  -- Whose setting has row security off, as what takes it back.
  (
    SELECT string_agg(
      concat_ws(' ',
        'ALTER',
        CASE
          WHEN setrole <> 0 THEN format('ROLE %I', session_user)
          WHEN setdatabase = 0 THEN 'ROLE ALL'
        END,
        CASE WHEN setdatabase <> 0 THEN format(CASE WHEN setrole <> 0 THEN 'IN ' ELSE '' END || 'DATABASE %I', current_database()) END,
        'RESET row_security'),
      '; ')
    FROM pg_db_role_setting CROSS JOIN unnest(setconfig) AS setting
    WHERE setting LIKE 'row_security=%'
      AND setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
      AND setrole IN (0, (SELECT oid FROM pg_roles WHERE rolname = session_user))
  )
