-- Sets how the session plans from now on.
SELECT
  set_config('plan_cache_mode', $1::text, false),
  -- Off: rows come in an index's order, whatever the planner thinks of a table it has not analyzed yet.
  set_config('enable_sort', $2::text, false),
  set_config('enable_bitmapscan', $2::text, false),
  -- Off: rows are found by an index, for the same reason.
  set_config('enable_seqscan', $3::text, false)
