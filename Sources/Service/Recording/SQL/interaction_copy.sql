-- Inserts the interactions of a batch.
COPY parley.interactions ({columns}) FROM STDIN (FORMAT binary)
