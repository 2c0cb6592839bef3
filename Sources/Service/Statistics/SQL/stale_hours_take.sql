DELETE FROM parley.deltas WHERE tenant = $1::int4 AND recount_from IS NOT NULL AND recount_to IS NOT NULL
