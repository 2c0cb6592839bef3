-- Begins to read for a tenant: finds its number by its name, and sets for the rest of the transaction how to plan, the
-- tenant that row security goes by, and the role that it binds. It travels in the same pipeline as the query it is
-- for, runs as the connection's own user, and answers with the number; or NULL for a name that is not registered, for
-- which row security shows nothing.
--
-- PostgreSQL checks who may read the registry before the first row, so that the role that is set last, which may not,
-- comes too late to matter. The outer join gives one row in any case: the role is set whether or not there is a name.
-- num_nonnulls makes one column of the settings, which costs less than a column for each.
SELECT
  key,
  num_nonnulls(
    set_config('parley.tenant', coalesce(key::text, ''), true),
    {plan}
    set_config('role', 'parley_reader', true)
  )
FROM (SELECT) AS one
LEFT JOIN parley.tenants ON name = $1::text
