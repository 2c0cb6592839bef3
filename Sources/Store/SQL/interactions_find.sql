-- The interactions of some keys of any tenants, each with its tenant last. OFFSET 0: key by key, whatever the planner
-- thinks of a table it has not analyzed yet. Columns in braces are bounded (BoundedColumns.swift). {months} are the bounds of
-- the months that all of the ids are of (Months.swift): a month that somebody has locked is no matter for the others.
SELECT interactions.*, wanted.tenant
FROM unnest($1::int4[], $2::uuid[]) AS wanted (tenant, id)
CROSS JOIN LATERAL (
  SELECT
    id, {conversation_id} AS conversation_id, {customer_message} AS customer_message,
    {agent_response} AS agent_response, {intent_names} AS intent_names, {intent_confidences} AS intent_confidences,
    {model_used} AS model_used, context_size, processing_time_ms, confidence_score, handoff_triggered,
    {handoff_reason} AS handoff_reason, {message_type} AS message_type, prompt_tokens, completion_tokens,
    estimated_cost_nanos, updated_at
  FROM parley.interactions
  WHERE tenant = wanted.tenant AND id = wanted.id {months}
  OFFSET 0
) AS interactions
