-- The tables of recording and reading. Keys begin with the tenant, so that rows can one day be
-- distributed by it; an interaction's id holds its time, so that no other index on time is needed.

-- Readers own nothing and row security binds them. The role is the cluster's, not this database's:
-- another database may have made it already, or be making it now.
DO $$
BEGIN
  CREATE ROLE parley_reader NOLOGIN;
EXCEPTION
  WHEN duplicate_object OR unique_violation THEN NULL;
  WHEN insufficient_privilege THEN
    IF to_regrole('parley_reader') IS NULL THEN
      RAISE EXCEPTION 'the role parley_reader is missing and % may not create it', current_user
        USING HINT = format('run as a superuser: CREATE ROLE parley_reader NOLOGIN; GRANT parley_reader TO %I;', current_user);
    END IF;
END $$;
DO $$
BEGIN
  EXECUTE format('GRANT parley_reader TO %I', current_user);
EXCEPTION
  WHEN unique_violation THEN NULL;
  WHEN insufficient_privilege THEN
    IF NOT pg_has_role(current_user, 'parley_reader', 'MEMBER') THEN
      RAISE EXCEPTION '% is not a member of parley_reader', current_user
        USING HINT = format('run as a superuser: GRANT parley_reader TO %I;', current_user);
    END IF;
END $$;
GRANT USAGE ON SCHEMA parley TO parley_reader;

-- A tenant is text outside and a number inside. Only the owner reads this table.
CREATE TABLE parley.tenants (
  key int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text COLLATE "C" NOT NULL UNIQUE,
  created_at timestamptz NOT NULL DEFAULT now()
);

-- Wide fixed columns stand first: no row pays for padding. There is no foreign key to tenants, for a
-- partitioned table cannot gain one to a reference table once it is distributed; the recorder vouches
-- for the tenant.
CREATE TABLE parley.interactions (
  estimated_cost_nanos bigint NOT NULL,
  confidence_score float8 NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  deleted_at timestamptz,
  tenant int NOT NULL,
  context_size int NOT NULL,
  processing_time_ms int NOT NULL,
  prompt_tokens int NOT NULL,
  completion_tokens int NOT NULL,
  handoff_triggered boolean NOT NULL,
  id uuid NOT NULL,
  conversation_id text COLLATE "C" NOT NULL,
  model_used text COLLATE "C" NOT NULL,
  message_type text COLLATE "C" NOT NULL,
  handoff_reason text COLLATE "C" NOT NULL,
  intent_names text[] COLLATE "C" NOT NULL,
  intent_confidences float8[] NOT NULL,
  customer_message text NOT NULL,
  agent_response text NOT NULL,
  PRIMARY KEY (tenant, id)
) PARTITION BY RANGE (id);

CREATE INDEX interactions_conversation ON parley.interactions (tenant, conversation_id, id);

-- One partition for all before 2020: nothing is refused for its age, and nobody can make a
-- partition for each month since 1970.
CREATE TABLE parley.interactions_early PARTITION OF parley.interactions
  FOR VALUES FROM (MINVALUE) TO ('016f5e66-e800-0000-0000-000000000000');

-- A reader sees the rows of the tenant set for its transaction, and none that were deleted. Where no
-- tenant is set it sees nothing.
ALTER TABLE parley.interactions ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON parley.interactions FOR SELECT TO parley_reader
  USING (tenant = nullif(current_setting('parley.tenant', true), '')::int AND deleted_at IS NULL);
GRANT SELECT ON parley.interactions TO parley_reader;

-- The first 48 bits of an id: its time in milliseconds since 1970.
CREATE FUNCTION parley.id_milliseconds(id uuid) RETURNS bigint
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
  RETURN ('x' || left(id::text, 8) || substr(id::text, 10, 4))::bit(48)::bigint;

-- The least id of that moment or later.
CREATE FUNCTION parley.id_lower_bound(at timestamptz) RETURNS uuid
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
  RETURN rpad(lpad(to_hex(ceil(extract(epoch FROM at) * 1000)::bigint), 12, '0'), 32, '0')::uuid;

-- Makes the partition that holds that time, if it is not there.
CREATE FUNCTION parley.ensure_partition(milliseconds bigint) RETURNS void
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
  EXECUTE format(
    'ALTER TABLE parley.interactions ATTACH PARTITION parley.%I FOR VALUES FROM (%L) TO (%L)',
    partition,
    parley.id_lower_bound(month AT TIME ZONE 'UTC'),
    parley.id_lower_bound((month + interval '1 month') AT TIME ZONE 'UTC'));
EXCEPTION
  -- Another made it between the look and the lock, whole: this session's catalog cache was behind.
  WHEN duplicate_table THEN NULL;
END $$;
