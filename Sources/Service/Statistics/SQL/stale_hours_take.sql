-- Removes all of a tenant's ranges of stale hours. The transaction adds those again that it does not rebuild.
DELETE FROM parley.deltas WHERE tenant = $1::int4 AND recount_from IS NOT NULL AND recount_to IS NOT NULL
