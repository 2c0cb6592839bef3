-- A tenant's sums of one grain, at most so many. Of those that are too long to be any, the first byte is enough.
SELECT
  start, model_used, message_type, handoff_triggered, handoff_reason, confidence_bin,
  CASE WHEN octet_length(sums) <= $11::int4 THEN sums ELSE substr(sums, 1, 1) END
FROM parley.rollups
WHERE tenant = $1::int4 AND grain = $2::int2
  AND start >= $3::int4 AND start < $4::int4
  AND ($5::text IS NULL OR model_used = $5::text)
  AND ($6::text IS NULL OR message_type = $6::text)
  AND ($7::bool IS NULL OR handoff_triggered = $7::bool)
  AND ($8::text IS NULL OR handoff_reason = $8::text)
  AND ($9::int2 IS NULL OR confidence_bin >= $9::int2)
  AND ($10::int2 IS NULL OR confidence_bin <= $10::int2)
LIMIT $12::int4
