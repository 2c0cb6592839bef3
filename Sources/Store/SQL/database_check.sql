-- What a server needs of a database before it writes anything there.
SELECT
  current_setting('server_version_num')::int4,
  current_setting('server_version'),
  current_setting('server_encoding'),
  current_setting('row_security') = 'on',
  pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on',
  session_user::text,
  current_database()::text
