INSERT INTO parley.interactions (
  tenant, id, conversation_id, customer_message, agent_response, intent_names, intent_confidences,
  model_used, context_size, processing_time_ms, confidence_score, handoff_triggered, handoff_reason,
  message_type, prompt_tokens, completion_tokens, estimated_cost_nanos
) VALUES (
  $1::int4, $2::uuid, $3::text, $4::text, $5::text, $6::text[], $7::float8[],
  $8::text, $9::int4, $10::int4, $11::float8, $12::bool, $13::text,
  $14::text, $15::int4, $16::int4, $17::int8
)
