-- Each by its key, whatever the planner thinks of a table it has not analyzed yet: OFFSET 0 keeps it to that.
-- {months} are the bounds of the months that all of the ids are of (Months.swift).
SELECT interactions.*
FROM unnest($2::uuid[]) AS wanted
CROSS JOIN LATERAL (
  SELECT
    id, conversation_id, customer_message, agent_response, intent_names, intent_confidences,
    model_used, context_size, processing_time_ms, confidence_score, handoff_triggered, handoff_reason,
    message_type, prompt_tokens, completion_tokens, estimated_cost_nanos, updated_at
  FROM parley.interactions
  WHERE tenant = $1::int4 AND id = wanted {months}
  OFFSET 0
) AS interactions
