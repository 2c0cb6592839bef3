-- Everything GetStats answers, in one pass: a row for the totals, for each group and for each point. A number that breaks
-- a rule, which other programs can have written, counts as the nearest that keeps it; so rollups have it, too.
-- Columns in braces are bounded (BoundedColumns.swift).
WITH selected AS (
  SELECT
    {model_used} AS model_used, {message_type} AS message_type,
    CASE WHEN handoff_triggered THEN {handoff_reason} END AS handoff_reason,
    parley.id_milliseconds(id) / $12::int8 * $12::int8 AS point,
    greatest(estimated_cost_nanos, 0) AS estimated_cost_nanos,
    score AS confidence_score,
    handoff_triggered,
    greatest(processing_time_ms, 0) AS processing_time_ms,
    greatest(prompt_tokens, 0) AS prompt_tokens,
    greatest(completion_tokens, 0) AS completion_tokens
  FROM parley.interactions
  CROSS JOIN LATERAL (
    -- NaN is greater than any number.
    SELECT CASE WHEN confidence_score <= 1 THEN greatest(confidence_score, 0)
      WHEN confidence_score = 'NaN' THEN 0 ELSE 1 END AS score
  ) AS nearest
  WHERE tenant = $1::int4
    AND id >= $2::uuid AND id < $3::uuid
    AND ($4::text IS NULL OR conversation_id = $4::text)
    AND ($5::text IS NULL OR model_used = $5::text)
    AND ($6::text IS NULL OR message_type = $6::text)
    AND ($7::bool IS NULL OR handoff_triggered = $7::bool)
    AND ($8::text IS NULL OR interactions.handoff_reason = $8::text)
    AND ($9::float8 IS NULL OR score >= $9::float8)
    AND ($10::float8 IS NULL OR score <= $10::float8)
    AND ($11::text IS NULL OR $11::text = ANY ({intent_names}))
  -- Of no more than these; NULL for all.
  LIMIT $14::int8
),
-- The groups of each kind, and which of them are too many and told together.
models AS (
  SELECT model_used, count(*) OVER () > $13::int8
    AND row_number() OVER (ORDER BY count(*) DESC, model_used) >= $13::int8 AS is_remainder
  FROM selected GROUP BY model_used
),
message_types AS (
  SELECT message_type, count(*) OVER () > $13::int8
    AND row_number() OVER (ORDER BY count(*) DESC, message_type) >= $13::int8 AS is_remainder
  FROM selected GROUP BY message_type
),
handoff_reasons AS (
  SELECT handoff_reason, count(*) OVER () > $13::int8
    AND row_number() OVER (ORDER BY count(*) DESC, handoff_reason) >= $13::int8 AS is_remainder
  FROM selected WHERE handoff_triggered GROUP BY handoff_reason
),
keyed AS (
  SELECT
    CASE WHEN NOT models.is_remainder THEN model_used END AS model_key,
    CASE WHEN NOT message_types.is_remainder THEN message_type END AS message_type_key,
    CASE WHEN NOT handoff_reasons.is_remainder THEN handoff_reason END AS handoff_reason_key,
    selected.*
  FROM selected
  JOIN models USING (model_used)
  JOIN message_types USING (message_type)
  LEFT JOIN handoff_reasons USING (handoff_reason)
)
SELECT
  -- Which kind of row: the set of columns it is not grouped by, as bits.
  grouping(model_key, message_type_key, handoff_reason_key, handed_off, point)::int4 AS kind,
  coalesce(model_key, message_type_key, handoff_reason_key) AS key,
  handed_off,
  point,
  count(*) AS total_interactions,
  -- Fails rather than wraps where the sum passes 64 bits.
  coalesce(sum(estimated_cost_nanos), 0)::int8 AS total_cost_nanos,
  coalesce(sum(round(confidence_score * 1000000)::int8), 0)::int8 AS confidence_micros,
  count(*) FILTER (WHERE handoff_triggered) AS handoff_count,
  coalesce(sum(processing_time_ms), 0)::int8 AS processing_time_ms,
  coalesce(sum(prompt_tokens), 0)::int8 AS prompt_tokens,
  coalesce(sum(completion_tokens), 0)::int8 AS completion_tokens,
  count(*) FILTER (WHERE confidence_score >= 0.7) AS high_confidence_count,
  percentile_disc(0.5) WITHIN GROUP (ORDER BY processing_time_ms) AS p50,
  percentile_disc(0.95) WITHIN GROUP (ORDER BY processing_time_ms) AS p95,
  percentile_disc(0.99) WITHIN GROUP (ORDER BY processing_time_ms) AS p99,
  count(*) FILTER (WHERE confidence_score < 0.1),
  count(*) FILTER (WHERE confidence_score >= 0.1 AND confidence_score < 0.2),
  count(*) FILTER (WHERE confidence_score >= 0.2 AND confidence_score < 0.3),
  count(*) FILTER (WHERE confidence_score >= 0.3 AND confidence_score < 0.4),
  count(*) FILTER (WHERE confidence_score >= 0.4 AND confidence_score < 0.5),
  count(*) FILTER (WHERE confidence_score >= 0.5 AND confidence_score < 0.6),
  count(*) FILTER (WHERE confidence_score >= 0.6 AND confidence_score < 0.7),
  count(*) FILTER (WHERE confidence_score >= 0.7 AND confidence_score < 0.8),
  count(*) FILTER (WHERE confidence_score >= 0.8 AND confidence_score < 0.9),
  count(*) FILTER (WHERE confidence_score >= 0.9)
FROM (SELECT *, handoff_triggered AS handed_off FROM keyed) AS keyed
GROUP BY GROUPING SETS ((), (model_key), (message_type_key), (handoff_reason_key, handed_off), (point))
ORDER BY kind, total_interactions DESC, key
