-- Sets the tenant for row security until the transaction ends. It travels in the same pipeline as the query it is
-- for, which is its transaction.
SELECT set_config('parley.tenant', $1::text, true)
