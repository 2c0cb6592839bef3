-- Writes rollups, in place of those that have the same keys.
INSERT INTO parley.rollups (
  tenant, grain, start, model_used, message_type, handoff_triggered, handoff_reason, confidence_bin, sums
)
SELECT * FROM unnest(
  $1::int4[], $2::int2[], $3::int4[], $4::text[], $5::text[], $6::bool[], $7::text[], $8::int2[], $9::bytea[]
)
ON CONFLICT (tenant, grain, start, model_used, message_type, handoff_triggered, handoff_reason, confidence_bin)
DO UPDATE SET sums = excluded.sums
