-- What others have locked is waited for no longer than this, because other work waits behind it.
SELECT set_config('lock_timeout', $2::text, true), parley.ensure_partition($1::int8)
