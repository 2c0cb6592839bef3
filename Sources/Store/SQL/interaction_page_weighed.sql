-- interaction_page.sql, put in below, cut where its rows weigh too much for one message. The last column
-- says how many rows were found.
SELECT
  id, conversation_id, customer_message, agent_response, intent_names, intent_confidences,
  model_used, context_size, processing_time_ms, confidence_score, handoff_triggered, handoff_reason,
  message_type, prompt_tokens, completion_tokens, estimated_cost_nanos, updated_at,
  found
FROM (
  SELECT
    *,
    count(*) OVER () AS found,
    row_number() OVER newest AS place,
    -- What the rows up to this one weigh on the wire, never too little. octet_length reads no text.
    sum(
      octet_length(customer_message) + octet_length(agent_response) + octet_length(conversation_id)
      + octet_length(model_used) + octet_length(handoff_reason)
      + octet_length(array_to_string(intent_names, '')) + 32 * cardinality(intent_names) + 512
    ) OVER newest AS bytes
  FROM (
    {page}
  ) AS page
  WINDOW newest AS (ORDER BY id DESC ROWS UNBOUNDED PRECEDING)
) AS weighed
WHERE bytes <= {bytes} OR place = 1
ORDER BY id DESC
