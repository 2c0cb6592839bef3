-- Sums by hour and by day, kept in step with the rows without being written with each of them.
--
-- Whoever commits rows commits a delta with them: what they add to the sums. Deltas are folded into the
-- rollups behind the recorder's back, each removed in the transaction that takes it in. So in any snapshot
-- rollups and deltas together are the rows, and no call waits for a sum.

CREATE TABLE parley.deltas (
  tenant int NOT NULL,
  -- What rows add, as the server encodes it; or NULL where
  facts bytea,
  -- the hours from here up to there (since 1970) must be counted anew: until they have been, their rows
  -- are the only truth about them.
  recount_from int,
  recount_to int,
  CHECK ((facts IS NULL) = (recount_from IS NOT NULL AND recount_to IS NOT NULL))
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);
ALTER TABLE parley.deltas ALTER facts SET STORAGE EXTERNAL;
CREATE INDEX deltas_tenant ON parley.deltas (tenant);
CREATE INDEX deltas_recount ON parley.deltas (recount_from) WHERE recount_from IS NOT NULL;

CREATE TABLE parley.rollups (
  tenant int NOT NULL,
  -- 0: hours by group and confidence bin. 1: days by the same. 2: hours by group. 3: days by group.
  -- 4: hours, over all groups.
  grain smallint NOT NULL,
  -- In hours since 1970.
  start int NOT NULL,
  model_used text COLLATE "C" NOT NULL,
  message_type text COLLATE "C" NOT NULL,
  handoff_triggered boolean NOT NULL,
  handoff_reason text COLLATE "C" NOT NULL,
  -- Of the confidence histogram, 0 to 9; -1 over all.
  confidence_bin smallint NOT NULL,
  -- As the server encodes them, percentiles' histogram among them.
  sums bytea NOT NULL,
  PRIMARY KEY (tenant, grain, start, model_used, message_type, handoff_triggered, handoff_reason, confidence_bin)
  -- Cells of the present hour are written again and again: room for that on their pages, and no compression.
) WITH (fillfactor = 50, toast_tuple_target = 8160);
ALTER TABLE parley.rollups ALTER sums SET STORAGE EXTERNAL;

ALTER TABLE parley.deltas ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON parley.deltas FOR SELECT TO parley_reader
  USING (tenant = nullif(current_setting('parley.tenant', true), '')::int);
ALTER TABLE parley.rollups ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON parley.rollups FOR SELECT TO parley_reader
  USING (tenant = nullif(current_setting('parley.tenant', true), '')::int);
GRANT SELECT ON parley.deltas, parley.rollups TO parley_reader;

-- Rows that are changed or deleted have their hours counted anew.
CREATE FUNCTION parley.mark_changed_hours() RETURNS trigger
  LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO parley.deltas (tenant, recount_from, recount_to)
  SELECT DISTINCT tenant, hour, hour + 1
  FROM (SELECT tenant, (parley.id_milliseconds(id) / 3600000)::int AS hour FROM changed) AS hours;
  RETURN NULL;
END $$;
CREATE TRIGGER mark_updated_hours AFTER UPDATE ON parley.interactions
  REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION parley.mark_changed_hours();
CREATE TRIGGER mark_deleted_hours AFTER DELETE ON parley.interactions
  REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION parley.mark_changed_hours();

-- What was recorded before is counted in the background, day by day; nothing is recorded meanwhile that
-- would not be seen here.
LOCK TABLE parley.interactions IN SHARE ROW EXCLUSIVE MODE;
INSERT INTO parley.deltas (tenant, recount_from, recount_to)
SELECT key, (parley.id_milliseconds(least) / 3600000)::int, (parley.id_milliseconds(greatest) / 3600000)::int + 1
FROM parley.tenants
CROSS JOIN LATERAL (SELECT id AS least FROM parley.interactions WHERE tenant = key ORDER BY id LIMIT 1) AS first
CROSS JOIN LATERAL (SELECT id AS greatest FROM parley.interactions WHERE tenant = key ORDER BY id DESC LIMIT 1) AS last;
