-- The numbers of some tenants, in their order. Two transactions that add the same names cannot deadlock where both
-- sort them.
SELECT parley.add_tenant(name) FROM unnest($1::text[]) WITH ORDINALITY AS told (name, place) ORDER BY place
