-- reader_begin.sql where tables are distributed: the tenant, the plan and how long a lock is waited for are set on every
-- node that a query of the transaction reaches, to which the coordinator connects as the role that is set last.
--
-- A plan for any values is none for one shard, so that the coordinator plans for the values at hand.
SELECT
  key,
  num_nonnulls(
    set_config('plan_cache_mode', 'auto', true),
    set_config('role', 'parley_reader', true)
  )
FROM parley.begin_reading(
  $1::text, ARRAY[{plan}]::text[] || format('lock_timeout = %L', current_setting('lock_timeout'))) AS key
