-- Distributes the tables by tenant over the nodes of Citus, in one transaction, and leaves out what distributed tables
-- cannot have. It can be run again at any time: migrations that came since may have brought what is to be changed here.

-- The coordinator connects to the nodes as the role that a query runs as. (Who may do so is up to their pg_hba.conf.)
DO $$
BEGIN
  IF NOT (SELECT rolcanlogin FROM pg_roles WHERE rolname = 'parley_reader') THEN
    ALTER ROLE parley_reader LOGIN;
  END IF;
EXCEPTION
  WHEN insufficient_privilege THEN
    RAISE EXCEPTION 'the role parley_reader cannot connect to the nodes of Citus, and % may not let it', current_user
      USING HINT = 'run as a superuser: ALTER ROLE parley_reader LOGIN;';
END $$;

-- A distributed table has no triggers. What other programs change is found by `parley verify` alone.
CREATE OR REPLACE FUNCTION parley.watch_changes(relation regclass) RETURNS void LANGUAGE sql AS '';
DO $$
DECLARE
  watched record;
BEGIN
  FOR watched IN
    SELECT tgrelid::regclass AS relation, tgname AS name
    FROM pg_trigger
    WHERE NOT tgisinternal AND tgparentid = 0 AND tgname ~ '^mark_(inserted|updated|deleted|truncated)_hours?$'
      AND tgrelid IN (
        SELECT 'parley.interactions'::regclass
        UNION ALL
        SELECT inhrelid FROM pg_inherits WHERE inhparent = 'parley.interactions'::regclass
      )
  LOOP
    EXECUTE format('DROP TRIGGER %I ON %s', watched.name, watched.relation);
  END LOOP;
END $$;

-- All of a tenant's rows are in shards on one node. What the coordinator alone asks for stays there: the registry of
-- tenants, the leases, and the state of migrations.
DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY '{interactions,deltas,rollups,postings}'::text[] LOOP
    CONTINUE WHEN EXISTS (SELECT FROM pg_dist_partition WHERE logicalrelid = format('parley.%I', name)::regclass);
    PERFORM create_distributed_table(
      format('parley.%I', name), 'tenant',
      colocate_with => CASE name WHEN 'interactions' THEN 'none' ELSE 'parley.interactions' END);
    -- The rows are in the shards now.
    PERFORM truncate_local_data_after_distributing_table(format('parley.%I', name)::regclass);
  END LOOP;
END $$;

-- Begins to read for a tenant, as reader_begin.sql does elsewhere, except for the role. SET LOCAL travels to every node
-- that a query of the transaction reaches, and set_config does not; where it has not, row security shows nothing.
CREATE OR REPLACE FUNCTION parley.begin_reading(wanted text, settings text[]) RETURNS int
  LANGUAGE plpgsql AS $$
DECLARE
  number int;
  setting text;
BEGIN
  SELECT key INTO number FROM parley.tenants WHERE name = wanted;
  PERFORM set_config('citus.propagate_set_commands', 'local', true);
  EXECUTE format('SET LOCAL parley.tenant = %L', coalesce(number::text, ''));
  FOREACH setting IN ARRAY settings LOOP
    EXECUTE 'SET LOCAL ' || setting;
  END LOOP;
  RETURN number;
END $$;

-- As before, and an answer means durable on the nodes, whatever their default is; nor is a lock waited for longer there. A
-- batch of many tenants goes to each node by one connection: by one for each shard, which is the default, it would prepare as
-- many transactions, and a record of 16 tenants' batches costs PostgreSQL 6 times the CPU.
CREATE OR REPLACE FUNCTION parley.begin_recording(names text[], numbers int[]) RETURNS text
  LANGUAGE plpgsql SET enable_seqscan = off AS $$
BEGIN
  FOR place IN 1 .. cardinality(names) LOOP
    PERFORM FROM parley.tenants WHERE name = names[place] AND key = numbers[place] FOR KEY SHARE;
    IF NOT FOUND THEN
      RETURN parley.refuse_tenant_number();
    END IF;
  END LOOP;
  PERFORM set_config('citus.multi_shard_modify_mode', 'sequential', true);
  PERFORM set_config('citus.propagate_set_commands', 'local', true);
  EXECUTE format('SET LOCAL synchronous_commit = %L', current_setting('synchronous_commit'));
  EXECUTE format('SET LOCAL lock_timeout = %L', current_setting('lock_timeout'));
  RETURN 'yes';
END $$;
