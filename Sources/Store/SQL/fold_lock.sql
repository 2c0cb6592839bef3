SELECT pg_try_advisory_xact_lock(hashtextextended('parley.rollups', 0))
