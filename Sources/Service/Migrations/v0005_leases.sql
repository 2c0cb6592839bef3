-- Background work that one server at a time may do. A server holds a lease by its row: it locks the row for the
-- length of a transaction, or it writes its own name and a time into it for work that spans transactions.
--
-- Advisory locks do not serve here. Any user of the database can take one and never give it back, and a session's
-- lock stays behind on a connection that a pooler shares. Only the tables' owner can lock these rows.
CREATE TABLE parley.leases (
  name text COLLATE "C" PRIMARY KEY,
  -- The server that holds the lease; NULL if nobody does.
  holder text,
  -- From then on another server may take the lease.
  expires_at timestamptz NOT NULL DEFAULT '-infinity'
);
INSERT INTO parley.leases (name) VALUES ('rollups'), ('partitions'), ('migrations');
