SELECT parley.ensure_partition($1::int8)
