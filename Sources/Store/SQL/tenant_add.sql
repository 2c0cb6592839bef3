INSERT INTO parley.tenants (name) VALUES ($1::text) ON CONFLICT (name) DO NOTHING
