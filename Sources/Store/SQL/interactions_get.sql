-- Each by its key, whatever the planner thinks of a table it has not analyzed yet: OFFSET 0 keeps it to that.
-- Columns in braces are bounded (BoundedColumns.swift).
-- {months} are the bounds of the months that all of the ids are of (Months.swift).
SELECT interactions.*
FROM unnest($2::uuid[]) AS wanted
CROSS JOIN LATERAL (
  SELECT
    id, {conversation_id} AS conversation_id, {customer_message} AS customer_message,
    {agent_response} AS agent_response, {intent_names} AS intent_names, {intent_confidences} AS intent_confidences,
    {model_used} AS model_used, context_size, processing_time_ms, confidence_score, handoff_triggered,
    {handoff_reason} AS handoff_reason, {message_type} AS message_type, prompt_tokens, completion_tokens,
    estimated_cost_nanos, updated_at
  FROM parley.interactions
  WHERE tenant = $1::int4 AND id = wanted {months}
  OFFSET 0
) AS interactions
