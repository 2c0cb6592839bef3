-- Adds the tenants that are new, and tells the numbers of all, in their order. Two transactions that add the same names cannot
-- deadlock if both sort them. $2 is how long to wait for what others have locked, because other work waits behind it.
SELECT parley.add_tenant(name)
FROM unnest($1::text[]) WITH ORDINALITY AS told (name, place)
WHERE set_config('lock_timeout', $2::text, true) IS NOT NULL
ORDER BY place
