-- Interactions. What gives their values follows.
INSERT INTO parley.interactions ({columns})
