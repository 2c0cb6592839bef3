-- A partition that is truncated has the hours of its own rows rebuilt, of every tenant, and no others: a partition's
-- bounds tell which. (All hours where it has no bounds, as the table itself.)
CREATE OR REPLACE FUNCTION parley.mark_every_hour() RETURNS trigger
  LANGUAGE plpgsql AS $function$
DECLARE
  -- FOR VALUES FROM (MINVALUE or 'id') TO ('id')
  bounds text[] := regexp_match(
    (SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE oid = TG_RELID),
    $bounds$^FOR VALUES FROM \((?:MINVALUE|'([0-9a-f-]{36})')\) TO \('([0-9a-f-]{36})'\)$bounds$);
BEGIN
  INSERT INTO parley.deltas (tenant, recount_from, recount_to)
  SELECT
    key,
    coalesce(parley.id_milliseconds(bounds[1]::uuid) / 3600000, 0),
    -- To the last hour that an interaction may be ahead of.
    coalesce(
      (parley.id_milliseconds(bounds[2]::uuid) + 3599999) / 3600000,
      (extract(epoch FROM now()) / 3600)::int + 48)
  FROM parley.tenants;
  RETURN NULL;
END $function$;

-- The stale hours of one tenant, however many change records wait beside them.
CREATE INDEX deltas_stale ON parley.deltas (tenant) WHERE recount_from IS NOT NULL;
