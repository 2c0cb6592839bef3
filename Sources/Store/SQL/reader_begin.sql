-- Sets the tenant for row security, and how to plan, until the transaction ends. It travels in the
-- same pipeline as the query it is for, which is its transaction.
SELECT
  set_config('parley.tenant', $1::text, true),
  set_config('plan_cache_mode', $2::text, true),
  -- Off: rows come in an index's order, whatever the planner thinks of a table it has not analyzed yet.
  set_config('enable_sort', $3::text, true),
  set_config('enable_bitmapscan', $3::text, true),
  -- Off: rows are found by an index, for the same reason.
  set_config('enable_seqscan', $4::text, true)
