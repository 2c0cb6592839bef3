-- `updated_at` is the time of the transaction that wrote the row, by PostgreSQL's clock, whichever way it was written:
-- the server names it neither in COPY nor in INSERT. The old default changed from row to row, which keeps COPY from
-- inserting many rows at once; this one does not. (Partitions inherit the change.)
--
-- It is no cursor for reading what is new: a transaction that began earlier may commit later.
ALTER TABLE parley.interactions ALTER updated_at SET DEFAULT now();
