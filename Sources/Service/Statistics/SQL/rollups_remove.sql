DELETE FROM parley.rollups
WHERE tenant = $1::int4 AND grain = $2::int2 AND start >= $3::int4 AND start < $4::int4
