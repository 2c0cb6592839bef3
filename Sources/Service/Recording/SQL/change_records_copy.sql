COPY parley.deltas (tenant, additions) FROM STDIN (FORMAT binary)
