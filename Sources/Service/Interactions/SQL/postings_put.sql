-- Writes chunks of posting lists, in place of those that have the same keys.
INSERT INTO parley.postings (tenant, facet, hour, chunk, ids)
SELECT * FROM unnest($1::int4[], $2::int8[], $3::int4[], $4::int4[], $5::bytea[])
ON CONFLICT (tenant, facet, hour, chunk) DO UPDATE SET ids = excluded.ids
