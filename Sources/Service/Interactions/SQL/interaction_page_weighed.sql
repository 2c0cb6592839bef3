-- interaction_page.sql, put in below, cut where its rows weigh too much for one message. The last column
-- says how many rows were found.
SELECT
  {columns},
  found
FROM (
  SELECT
    *,
    count(*) OVER () AS found,
    row_number() OVER newest AS place,
    -- What the rows up to this one weigh on the wire, never too little.
    sum({weight} + 512) OVER newest AS bytes
  FROM (
    {page}
  ) AS page
  WINDOW newest AS (ORDER BY id DESC ROWS UNBOUNDED PRECEDING)
) AS weighed
WHERE bytes <= {bytes} OR place = 1
ORDER BY id DESC
