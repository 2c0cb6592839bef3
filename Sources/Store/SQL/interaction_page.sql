-- One page and the row after it, newest first. Long texts are empty unless $13. Columns in braces are bounded (BoundedColumns.swift).
SELECT {viewed_columns}
FROM {source}
WHERE tenant = $1::int4
  -- The time range and the page's cursor, as bounds on the key.
  AND id >= $2::uuid AND id < $3::uuid {months}
  -- {filter}
  AND ($4::text IS NULL OR conversation_id = $4::text)
  AND ($5::text IS NULL OR model_used = $5::text)
  AND ($6::text IS NULL OR message_type = $6::text)
  AND ($7::bool IS NULL OR handoff_triggered = $7::bool)
  AND ($8::text IS NULL OR handoff_reason = $8::text)
  AND ($9::float8 IS NULL OR confidence_score >= $9::float8)
  AND ($10::float8 IS NULL OR confidence_score <= $10::float8)
  AND ($11::text IS NULL OR $11::text = ANY ({intent_names}))
  -- {filter}
ORDER BY id DESC
LIMIT $12::int4
