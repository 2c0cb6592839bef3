-- Makes the lease of the rollup job anew, where somebody removed it.
INSERT INTO parley.leases (name) VALUES ('rollups') ON CONFLICT (name) DO NOTHING
