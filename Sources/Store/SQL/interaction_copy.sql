COPY parley.interactions (
  tenant, id, conversation_id, customer_message, agent_response, intent_names, intent_confidences,
  model_used, context_size, processing_time_ms, confidence_score, handoff_triggered, handoff_reason,
  message_type, prompt_tokens, completion_tokens, estimated_cost_nanos
) FROM STDIN (FORMAT binary)