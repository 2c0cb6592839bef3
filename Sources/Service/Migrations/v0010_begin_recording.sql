-- Begins to record for some tenants: fails unless each name has that number in this database, and says of the rest of
-- the transaction that change records come with its rows (the trigger mark_inserted_hour lets them be).
--
-- The lock is what a foreign key would take. It keeps the tenants' names and numbers as they are until the rows are
-- committed: a transaction that gives a tenant another number, as a restore does, waits for this one or comes first.
--
-- It is a function because COPY comes with a text, which would be planned for every transaction. A session plans a
-- function's queries once, and this one by the index, however few tenants there are then.
CREATE FUNCTION parley.begin_recording(names text[], numbers int[]) RETURNS text
  LANGUAGE plpgsql SET enable_seqscan = off AS $$
BEGIN
  FOR place IN 1 .. cardinality(names) LOOP
    PERFORM FROM parley.tenants WHERE name = names[place] AND key = numbers[place] FOR KEY SHARE;
    IF NOT FOUND THEN
      RETURN parley.refuse_tenant_number();
    END IF;
  END LOOP;
  RETURN set_config('parley.inserts_are_counted', 'yes', true);
END $$;
