INSERT INTO parley.deltas (tenant, additions, recount_from, recount_to) VALUES ($1::int4, $2::bytea, $3::int4, $4::int4)
