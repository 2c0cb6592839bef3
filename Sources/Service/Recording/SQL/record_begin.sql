-- What others have locked is waited for no longer than this in the transaction, because other work waits behind it. It is set
-- first, and in a transaction behind a pooler, too.
SELECT set_config('lock_timeout', $3::text, true), parley.begin_recording($1::text[], $2::int4[])
