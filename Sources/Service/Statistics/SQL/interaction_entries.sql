-- What rows add to statistics and postings, oldest first, so many at a time. Columns in braces are bounded
-- (BoundedColumns.swift).
SELECT
  id, {model_used}, {message_type}, handoff_triggered, {handoff_reason}, {intent_names}, confidence_score, {inputs}
FROM parley.interactions
WHERE tenant = $1::int4
  AND id >= $2::uuid AND id < $3::uuid {months}
  -- The tables' owner is bound by no row security.
  AND deleted_at IS NULL
ORDER BY id
LIMIT $4::int4
