-- A tenant's change record, in a transaction that has begun to record for the tenant.
INSERT INTO parley.deltas (tenant, additions) VALUES ($1::int4, $2::bytea)
