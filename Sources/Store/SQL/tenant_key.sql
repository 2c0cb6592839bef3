SELECT key FROM parley.tenants WHERE name = $1::text
