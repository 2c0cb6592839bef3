-- A tenant's number is trusted only in the database and the transaction that it was learned in: after a restore or a
-- failover the same name may have another number, and the same number another name. So every transaction goes by the
-- name, and a number is not given twice even if the registry has forgotten to whom it gave it.

-- The number of that name, given now if it has none: a random one of those from 2^30 on, which the sequence of earlier
-- versions does not reach, and which no row has.
CREATE FUNCTION parley.add_tenant(wanted text) RETURNS int
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
    IF NOT EXISTS (SELECT FROM parley.interactions WHERE tenant = number)
      AND NOT EXISTS (SELECT FROM parley.rollups WHERE tenant = number)
      AND NOT EXISTS (SELECT FROM parley.postings WHERE tenant = number)
      AND NOT EXISTS (SELECT FROM parley.deltas WHERE tenant = number)
    THEN
      -- Another may add the same name meanwhile; then the next look finds it.
      INSERT INTO parley.tenants (key, name) OVERRIDING SYSTEM VALUE VALUES (number, wanted) ON CONFLICT DO NOTHING;
    END IF;
  END LOOP;
END $$;

-- Ends a transaction that records under a number which the registry does not have for that name. The server looks the
-- name up again and repeats the work.
CREATE FUNCTION parley.refuse_tenant_number() RETURNS text
  LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION USING
    ERRCODE = 'PT001',
    MESSAGE = 'a tenant has another number in this database than the one told';
END $$;
