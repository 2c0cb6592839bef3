-- One page and the row after it, newest first. PageStatements.swift gives the parts in braces; {source} is one of the files
-- interaction_page_of_….sql.
SELECT {viewed_columns} {is_light}
-- The time range and the page's cursor are bounds on the key.
FROM {source}
  {conditions}
ORDER BY id DESC
LIMIT {limit}
