DELETE FROM parley.postings WHERE tenant = $1::int4 AND hour >= $2::int4 AND hour < $3::int4
