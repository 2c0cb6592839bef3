SELECT sums FROM parley.rollups
WHERE tenant = $1::int4 AND grain = $2::int2 AND start = $3::int4 AND model_used = $4::text
  AND message_type = $5::text AND handoff_triggered = $6::bool AND handoff_reason = $7::text
  AND confidence_bin = $8::int2
