SELECT key, name FROM parley.tenants ORDER BY name
