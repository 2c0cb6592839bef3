-- Has hours of a tenant rebuilt. Those that are to be already may stand there twice: a rebuild takes all of them together.
INSERT INTO parley.deltas (tenant, recount_from, recount_to) VALUES ($1::int4, $2::int4, $3::int4)
