-- Whether a table shows rows to the readers' role with no tenant set: one row if it does. Citus can run this form, too.
SELECT true WHERE EXISTS (SELECT 1 FROM {table})
