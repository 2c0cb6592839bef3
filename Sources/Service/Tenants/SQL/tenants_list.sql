-- The number and the name of every tenant.
SELECT key, name FROM parley.tenants ORDER BY name
