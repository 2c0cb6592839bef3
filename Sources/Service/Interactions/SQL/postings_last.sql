-- The chunks that may have room, of some facets and hours, each with its key's place. NULL stands for what is too long to be
-- any.
SELECT wanted.place::int4, kept.chunk, CASE WHEN octet_length(kept.ids) <= $4::int4 THEN kept.ids END
FROM unnest($1::int4[], $2::int8[], $3::int4[]) WITH ORDINALITY AS wanted (tenant, facet, hour, place)
CROSS JOIN LATERAL (
  SELECT chunk, ids FROM parley.postings
  WHERE tenant = wanted.tenant AND facet = wanted.facet AND hour = wanted.hour
  ORDER BY chunk DESC
  LIMIT 1
) AS kept
