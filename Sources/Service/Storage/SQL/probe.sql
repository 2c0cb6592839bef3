-- What keeps the database from being written, and what keeps readers from exactly the rows of their tenant; NULL for nothing.
WITH begun AS (
  -- What a new session begins with, of what is set for the database and the user. This session keeps what it began with.
  SELECT DISTINCT ON (split_part(setting, '=', 1))
    split_part(setting, '=', 1) AS name, split_part(setting, '=', 2)::bool AS value
  FROM (
    SELECT setting, setrole, setdatabase
    FROM pg_db_role_setting CROSS JOIN unnest(setconfig) AS setting
    WHERE setting ~ '^(default_transaction_read_only|row_security)='
      AND setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
      AND setrole IN (0, (SELECT oid FROM pg_roles WHERE rolname = session_user))
  ) AS settings
  ORDER BY split_part(setting, '=', 1), setrole <> 0 DESC, setdatabase <> 0 DESC
),
-- What the connection string sets comes before that.
chosen AS (
  SELECT name, value FROM begun
  WHERE NOT EXISTS (SELECT FROM pg_settings WHERE pg_settings.name = begun.name AND source = 'client')
),
-- Which tables are not as parley's migrations made them.
tables AS (
  SELECT
    string_agg(oid::regclass::text, ', ') FILTER (WHERE NOT has_table_privilege('parley_reader', oid, 'SELECT'))
      AS unreadable,
    string_agg(oid::regclass::text, ', ') FILTER (WHERE NOT relrowsecurity) AS unprotected,
    string_agg(oid::regclass::text, ', ') FILTER (
      WHERE NOT EXISTS (
        SELECT FROM pg_policy
        WHERE polrelid = pg_class.oid AND polname = 'own_tenant' AND polpermissive AND polcmd IN ('r', '*')
          AND polroles && ARRAY[0, to_regrole('parley_reader')::oid]
          -- But for what versions of PostgreSQL may write in other ways.
          AND regexp_replace(pg_get_expr(polqual, polrelid), '::text|[()[:space:]]', '', 'g')
            = $$tenant=NULLIFcurrent_setting'parley.tenant',true,''::integer$$
              || CASE relname WHEN 'interactions' THEN 'ANDdeleted_atISNULL' ELSE '' END
      )
    ) AS unfenced,
    -- Policies add up: what one more allows is shown, whatever the tenant's own says.
    string_agg(oid::regclass::text, ', ') FILTER (
      WHERE EXISTS (
        SELECT FROM pg_policy
        WHERE polrelid = pg_class.oid AND polpermissive AND polname <> 'own_tenant'
          AND polroles && ARRAY[0, to_regrole('parley_reader')::oid]
      )
    ) AS exposed
  FROM pg_class
  WHERE oid IN (
    'parley.interactions'::regclass, 'parley.deltas'::regclass, 'parley.rollups'::regclass, 'parley.postings'::regclass
  )
)
SELECT
  CASE
    WHEN pg_is_in_recovery() THEN 'it is a standby, which can only be read'
    WHEN current_setting('transaction_read_only')::bool
      OR EXISTS (SELECT FROM chosen WHERE name = 'default_transaction_read_only' AND value)
      THEN 'transactions are read-only (default_transaction_read_only)'
  END,
  CASE
    WHEN NOT pg_has_role(current_user, 'parley_reader', 'MEMBER') THEN 'the user is not a member of parley_reader'
    WHEN NOT current_setting('row_security')::bool OR EXISTS (SELECT FROM chosen WHERE name = 'row_security' AND NOT value)
      THEN 'row_security is off'
    WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = 'parley_reader' AND (rolsuper OR rolbypassrls))
      THEN 'row security does not bind the role parley_reader; run: ALTER ROLE parley_reader NOSUPERUSER NOBYPASSRLS'
    WHEN NOT has_schema_privilege('parley_reader', 'parley', 'USAGE')
      THEN 'the role parley_reader may not use the schema parley; run: GRANT USAGE ON SCHEMA parley TO parley_reader'
    WHEN unreadable IS NOT NULL
      THEN format('the role parley_reader may not read %1$s; run: GRANT SELECT ON %1$s TO parley_reader', unreadable)
    WHEN unprotected IS NOT NULL
      THEN format('row security of %s is off; run ALTER TABLE ... ENABLE ROW LEVEL SECURITY for each', unprotected)
    WHEN unfenced IS NOT NULL
      THEN format(
        'the policy own_tenant of %s is missing or not as parley''s migrations make it; restore it from there', unfenced)
    WHEN exposed IS NOT NULL
      THEN format('a policy of %s shows the role parley_reader more than its tenant; drop it', exposed)
  END
FROM tables
