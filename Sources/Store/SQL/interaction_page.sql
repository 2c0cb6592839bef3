-- One page and the row after it, newest first. The columns stand as in interactions_get.sql; those in braces
-- are bounded (BoundedColumns.swift).
SELECT
  id, {conversation_id} AS conversation_id,
  CASE WHEN $13::bool THEN {customer_message} ELSE '' END AS customer_message,
  CASE WHEN $13::bool THEN {agent_response} ELSE '' END AS agent_response,
  {intent_names} AS intent_names, {intent_confidences} AS intent_confidences,
  {model_used} AS model_used, context_size, processing_time_ms, confidence_score, handoff_triggered,
  {handoff_reason} AS handoff_reason, {message_type} AS message_type,
  prompt_tokens, completion_tokens, estimated_cost_nanos, updated_at
FROM {source}
WHERE tenant = $1::int4
  -- The time range and the page's cursor, as bounds on the key.
  AND id >= $2::uuid AND id < $3::uuid {months}
  -- {filter}
  AND ($4::text IS NULL OR conversation_id = $4::text)
  AND ($5::text IS NULL OR model_used = $5::text)
  AND ($6::text IS NULL OR message_type = $6::text)
  AND ($7::bool IS NULL OR handoff_triggered = $7::bool)
  AND ($8::text IS NULL OR handoff_reason = $8::text)
  AND ($9::float8 IS NULL OR confidence_score >= $9::float8)
  AND ($10::float8 IS NULL OR confidence_score <= $10::float8)
  AND ($11::text IS NULL OR $11::text = ANY ({intent_names}))
  -- {filter}
ORDER BY id DESC
LIMIT $12::int4
