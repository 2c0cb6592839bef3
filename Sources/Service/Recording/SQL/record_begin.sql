-- Begins a transaction that records for some tenants: checks their numbers, and sets how long the transaction waits for what
-- others have locked ($3), because other work waits behind it. That is set first, and in a transaction behind a pooler, too.
SELECT set_config('lock_timeout', $3::text, true), parley.begin_recording($1::text[], $2::int4[])
