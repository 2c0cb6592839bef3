-- The sums that are kept under some keys, each with its key's place. Of those that are too long to be any, the first byte
-- is enough.
SELECT
  wanted.place::int4, CASE WHEN octet_length(kept.sums) <= $9::int4 THEN kept.sums ELSE substr(kept.sums, 1, 1) END
FROM unnest($1::int4[], $2::int2[], $3::int4[], $4::text[], $5::text[], $6::bool[], $7::text[], $8::int2[])
  WITH ORDINALITY AS wanted (
    tenant, grain, start, model_used, message_type, handoff_triggered, handoff_reason, confidence_bin, place
  )
-- OFFSET 0: key by key, whatever the planner thinks of how many there are.
CROSS JOIN LATERAL (
  SELECT sums FROM parley.rollups
  WHERE tenant = wanted.tenant AND grain = wanted.grain AND start = wanted.start AND model_used = wanted.model_used
    AND message_type = wanted.message_type AND handoff_triggered = wanted.handoff_triggered
    AND handoff_reason = wanted.handoff_reason AND confidence_bin = wanted.confidence_bin
  OFFSET 0
) AS kept
