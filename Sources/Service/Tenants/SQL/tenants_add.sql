-- The numbers of some tenants, in their order. Two transactions that add the same names cannot deadlock where both
-- sort them. What others have locked is waited for no longer than this, because other work waits behind it.
SELECT parley.add_tenant(name)
FROM unnest($1::text[]) WITH ORDINALITY AS told (name, place)
WHERE set_config('lock_timeout', $2::text, true) IS NOT NULL
ORDER BY place
