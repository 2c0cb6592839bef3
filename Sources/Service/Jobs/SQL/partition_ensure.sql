-- Makes the partition of the month of a time ($1, in milliseconds), if it is missing. $2 is how long to wait for what others
-- have locked, because other work waits behind it.
SELECT set_config('lock_timeout', $2::text, true), parley.ensure_partition($1::int8)
