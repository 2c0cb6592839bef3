-- Changes by others count whichever way they come: by the table's name or by a partition's, into another hour, or
-- all rows at once. (A partition that is dropped or detached tells nobody: `parley verify --repair` finds that.)

CREATE FUNCTION parley.mark_updated_hours() RETURNS trigger
  LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO parley.deltas (tenant, recount_from, recount_to)
  SELECT tenant, hour, hour + 1
  FROM (
    SELECT tenant, (parley.id_milliseconds(id) / 3600000)::int AS hour FROM before
    UNION
    SELECT tenant, (parley.id_milliseconds(id) / 3600000)::int FROM after
  ) AS hours;
  RETURN NULL;
END $$;

-- Every hour, to the last that an interaction may be ahead of.
CREATE FUNCTION parley.mark_every_hour() RETURNS trigger
  LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO parley.deltas (tenant, recount_from, recount_to)
  SELECT key, 0, (extract(epoch FROM now()) / 3600)::int + 48 FROM parley.tenants;
  RETURN NULL;
END $$;

-- A statement fires the triggers of the table it names, so every partition has its own.
CREATE FUNCTION parley.watch_changes(relation regclass) RETURNS void
  LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format(
    'CREATE TRIGGER mark_updated_hours AFTER UPDATE ON %s REFERENCING OLD TABLE AS before NEW TABLE AS after '
    'FOR EACH STATEMENT EXECUTE FUNCTION parley.mark_updated_hours()', relation);
  EXECUTE format(
    'CREATE TRIGGER mark_deleted_hours AFTER DELETE ON %s REFERENCING OLD TABLE AS changed '
    'FOR EACH STATEMENT EXECUTE FUNCTION parley.mark_changed_hours()', relation);
  EXECUTE format(
    'CREATE TRIGGER mark_truncated_hours AFTER TRUNCATE ON %s '
    'FOR EACH STATEMENT EXECUTE FUNCTION parley.mark_every_hour()', relation);
END $$;

DROP TRIGGER mark_updated_hours ON parley.interactions;
DROP TRIGGER mark_deleted_hours ON parley.interactions;
SELECT parley.watch_changes('parley.interactions');
SELECT parley.watch_changes(inhrelid::regclass) FROM pg_inherits WHERE inhparent = 'parley.interactions'::regclass;

-- As before, but for the triggers.
CREATE OR REPLACE FUNCTION parley.ensure_partition(milliseconds bigint) RETURNS void
  LANGUAGE plpgsql AS $$
DECLARE
  month timestamp := date_trunc('month', to_timestamp(milliseconds / 1000.0) AT TIME ZONE 'UTC');
  partition text := 'interactions_' || to_char(month, 'YYYY_MM');
BEGIN
  IF month < timestamp '2020-01-01' OR to_regclass('parley.' || partition) IS NOT NULL THEN
    RETURN;
  END IF;
  PERFORM pg_advisory_xact_lock(hashtextextended('parley.ensure_partition', 0));
  IF to_regclass('parley.' || partition) IS NOT NULL THEN
    RETURN;
  END IF;
  -- Made apart and attached: attaching lets reads and writes of the table go on.
  EXECUTE format('CREATE TABLE parley.%I (LIKE parley.interactions INCLUDING DEFAULTS)', partition);
  PERFORM parley.watch_changes(format('parley.%I', partition)::regclass);
  EXECUTE format(
    'ALTER TABLE parley.interactions ATTACH PARTITION parley.%I FOR VALUES FROM (%L) TO (%L)',
    partition,
    parley.id_lower_bound(month AT TIME ZONE 'UTC'),
    parley.id_lower_bound((month + interval '1 month') AT TIME ZONE 'UTC'));
EXCEPTION
  -- Another made it between the look and the lock, whole: this session's catalog cache was behind.
  WHEN duplicate_table THEN NULL;
END $$;
