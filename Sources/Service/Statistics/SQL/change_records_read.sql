-- A tenant's change records. Of one that is too long to be any, and of a newer format's, the first byte is enough.
SELECT CASE WHEN octet_length(additions) <= $2::int4 THEN additions ELSE substr(additions, 1, 1) END
FROM parley.deltas
WHERE tenant = $1::int4 AND additions IS NOT NULL
