COPY parley.deltas (tenant, facts) FROM STDIN (FORMAT binary)
