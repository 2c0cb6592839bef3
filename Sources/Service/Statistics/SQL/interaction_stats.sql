-- Everything GetStats answers, in one pass: a row for the totals, for each group and for each point. A number that breaks
-- a rule, which other programs can have written, counts as the nearest that keeps it; so rollups have it, too.
-- Columns in braces are bounded (BoundedColumns.swift).
WITH selected AS (
  SELECT
    {model_used} AS model_used, {message_type} AS message_type,
    CASE WHEN handoff_triggered THEN {handoff_reason} END AS handoff_reason,
    parley.id_milliseconds(id) / $12::int8 * $12::int8 AS point,
    score AS confidence_score,
    handoff_triggered,
    {inputs}
  FROM parley.interactions
  CROSS JOIN LATERAL (
    SELECT {confidence_score} AS score
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
  {measures}
FROM (SELECT *, handoff_triggered AS handed_off FROM keyed) AS keyed
GROUP BY GROUPING SETS ((), (model_key), (message_type_key), (handoff_reason_key, handed_off), (point))
ORDER BY kind, total_interactions DESC, key
