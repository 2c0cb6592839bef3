-- Which interactions have a value, by hour: how a list finds the few that a filter selects among many.
--
-- They are kept in step with the rows as rollups are: by the deltas, behind the recorder's back. A posting
-- only says where to look: whoever reads one looks at the row, too.

CREATE TABLE parley.postings (
  -- A hash of which field and which value (Postings/Facet.swift).
  facet bigint NOT NULL,
  tenant int NOT NULL,
  -- Since 1970.
  hour int NOT NULL,
  -- 0 is full before 1 is begun.
  chunk int NOT NULL,
  -- Sixteen bytes each, in no order.
  ids bytea NOT NULL,
  PRIMARY KEY (tenant, facet, hour, chunk)
  -- The last chunks of the present hour are written again and again.
) WITH (fillfactor = 70, toast_tuple_target = 8160);
ALTER TABLE parley.postings ALTER ids SET STORAGE EXTERNAL;
CREATE INDEX postings_hour ON parley.postings (tenant, hour);

ALTER TABLE parley.postings ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON parley.postings FOR SELECT TO parley_reader
  USING (tenant = nullif(current_setting('parley.tenant', true), '')::int);
GRANT SELECT ON parley.postings TO parley_reader;

-- Rows that others insert have their hours counted anew, as those that are changed have. The server, whose
-- rows come with deltas, says so of its session. Once for each run of rows of one hour: a setting remembers
-- the last, and forgets it with the transaction or the savepoint.
CREATE FUNCTION parley.mark_inserted_hour() RETURNS trigger
  LANGUAGE plpgsql AS $$
DECLARE
  hour int := parley.id_milliseconds(NEW.id) / 3600000;
  mark text := NEW.tenant || ' ' || hour;
BEGIN
  IF current_setting('parley.marked_hour', true) IS DISTINCT FROM mark THEN
    INSERT INTO parley.deltas (tenant, recount_from, recount_to) VALUES (NEW.tenant, hour, hour + 1);
    PERFORM set_config('parley.marked_hour', mark, true);
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER mark_inserted_hour AFTER INSERT ON parley.interactions
  FOR EACH ROW WHEN (current_setting('parley.inserts_are_counted', true) IS DISTINCT FROM 'yes')
  EXECUTE FUNCTION parley.mark_inserted_hour();

-- What a delta adds holds more now, under a name that older servers do not know: they can write no more of
-- the old form. What waits in it is counted from the rows instead, with everything that was recorded before,
-- in the background, day by day.
LOCK TABLE parley.interactions IN SHARE ROW EXCLUSIVE MODE;
DELETE FROM parley.deltas;
ALTER TABLE parley.deltas RENAME facts TO additions;
INSERT INTO parley.deltas (tenant, recount_from, recount_to)
SELECT key, (parley.id_milliseconds(least) / 3600000)::int, (parley.id_milliseconds(greatest) / 3600000)::int + 1
FROM parley.tenants
CROSS JOIN LATERAL (SELECT id AS least FROM parley.interactions WHERE tenant = key ORDER BY id LIMIT 1) AS first
CROSS JOIN LATERAL (SELECT id AS greatest FROM parley.interactions WHERE tenant = key ORDER BY id DESC LIMIT 1) AS last;
