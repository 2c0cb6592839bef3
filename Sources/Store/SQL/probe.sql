-- What keeps the database from serving, or NULL.
SELECT CASE
  WHEN pg_is_in_recovery() THEN 'it is a standby, which can only be read'
  WHEN current_setting('transaction_read_only')::bool THEN 'transactions are read-only (default_transaction_read_only)'
  WHEN NOT pg_has_role(current_user, 'parley_reader', 'MEMBER') THEN 'the user is not a member of parley_reader'
  WHEN NOT current_setting('row_security')::bool THEN 'row_security is off'
  WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = 'parley_reader' AND (rolsuper OR rolbypassrls))
    THEN 'row security does not bind the role parley_reader'
  WHEN NOT (
    SELECT bool_and(relrowsecurity) FROM pg_class
    WHERE oid IN (
      'parley.interactions'::regclass, 'parley.deltas'::regclass, 'parley.rollups'::regclass, 'parley.postings'::regclass
    )
  ) THEN 'row security of a table is off'
  -- Policies add up: what one more allows is shown, whatever the tenant's own says.
  WHEN EXISTS (
    SELECT FROM pg_policy
    WHERE polpermissive AND polname <> 'own_tenant' AND polroles && ARRAY[0, to_regrole('parley_reader')::oid]
      AND polrelid IN (
        'parley.interactions'::regclass, 'parley.deltas'::regclass, 'parley.rollups'::regclass, 'parley.postings'::regclass
      )
  ) THEN 'a policy shows the role parley_reader more than its tenant'
END
