-- Makes the row of a lease again, where somebody removed it.
INSERT INTO parley.leases (name) VALUES ($1::text) ON CONFLICT (name) DO NOTHING RETURNING name
