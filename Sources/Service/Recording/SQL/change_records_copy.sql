-- Inserts the change records of a batch.
COPY parley.deltas (tenant, additions) FROM STDIN (FORMAT binary)
