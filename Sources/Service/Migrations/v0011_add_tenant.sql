-- A new tenant waits for no month that somebody has locked.

-- Whether an interaction has that number, as far as it can be seen without waiting for others' locks. Where a month is locked,
-- the others are looked at one by one, and the locked ones pass for empty.
CREATE FUNCTION parley.has_interactions(number int) RETURNS boolean
  LANGUAGE plpgsql SET lock_timeout = '10ms' AS $$
DECLARE
  month regclass;
  is_found boolean;
BEGIN
  BEGIN
    RETURN EXISTS (SELECT FROM parley.interactions WHERE tenant = number);
  EXCEPTION
    WHEN lock_not_available THEN NULL;
  END;
  -- There may be hundreds. Until this function ends.
  PERFORM set_config('lock_timeout', '1ms', true);
  FOR month IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'parley.interactions'::regclass LOOP
    BEGIN
      EXECUTE format('SELECT EXISTS (SELECT FROM %s WHERE tenant = $1)', month) INTO is_found USING number;
      IF is_found THEN
        RETURN true;
      END IF;
    EXCEPTION
      -- It is locked, or was dropped meanwhile: then its name has become a number, which is no SQL.
      WHEN lock_not_available OR undefined_table OR syntax_error THEN NULL;
    END;
  END LOOP;
  RETURN false;
END $$;

-- The number of that name, given now if it has none: a random one of those from 2^30 on, which the sequence of earlier
-- versions does not reach, and which nothing has that a registry has forgotten.
--
-- Whoever has interactions has sums of them, posting lists or change records, in any snapshot. So those three tables tell of
-- every number that was used, and they are looked at whole. The interactions themselves are looked at beside, for the case that
-- the three were emptied, too. In a month that is locked just then they are not seen: a number is given twice only if the
-- registry and all three tables have lost it, every month that it has rows in is locked, and chance draws it among 2^30.
CREATE OR REPLACE FUNCTION parley.add_tenant(wanted text) RETURNS int
  LANGUAGE plpgsql AS $$
DECLARE
  number int;
BEGIN
  LOOP
    SELECT key INTO number FROM parley.tenants WHERE name = wanted;
    IF FOUND THEN
      RETURN number;
    END IF;
    number := 1073741824 + floor(random() * 1073741824)::int;
    IF NOT EXISTS (SELECT FROM parley.rollups WHERE tenant = number)
      AND NOT EXISTS (SELECT FROM parley.postings WHERE tenant = number)
      AND NOT EXISTS (SELECT FROM parley.deltas WHERE tenant = number)
    THEN
      -- By itself: where tables are distributed, the statement above goes to the node of that number, whole.
      IF NOT parley.has_interactions(number) THEN
        -- Another may add the same name meanwhile; then the next look finds it.
        INSERT INTO parley.tenants (key, name) OVERRIDING SYSTEM VALUE VALUES (number, wanted) ON CONFLICT DO NOTHING;
      END IF;
    END IF;
  END LOOP;
END $$;
