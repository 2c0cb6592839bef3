SELECT parley.begin_recording($1::text[], $2::int4[])
