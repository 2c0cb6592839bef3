SELECT tenant, additions, recount_from, recount_to FROM parley.deltas WHERE tenant = $1::int4
