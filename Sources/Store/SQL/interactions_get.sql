-- Each by its key, whatever the planner thinks of a table it has not analyzed yet: OFFSET 0 keeps it to that.
-- No id lies outside of $3 to $4, so that PostgreSQL prepares to read those partitions alone.
SELECT interactions.*
FROM unnest($2::uuid[]) AS wanted
CROSS JOIN LATERAL (
  SELECT
    id, conversation_id, customer_message, agent_response, intent_names, intent_confidences,
    model_used, context_size, processing_time_ms, confidence_score, handoff_triggered, handoff_reason,
    message_type, prompt_tokens, completion_tokens, estimated_cost_nanos, updated_at
  FROM parley.interactions
  WHERE tenant = $1::int4 AND id = wanted AND id BETWEEN $3::uuid AND $4::uuid
  OFFSET 0
) AS interactions
