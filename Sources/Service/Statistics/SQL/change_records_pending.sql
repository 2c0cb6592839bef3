-- Whether change records wait to be merged.
SELECT EXISTS (SELECT FROM parley.deltas WHERE additions IS NOT NULL)
