-- Which monitor leads: one row, taken over when its time is up.

CREATE TABLE lead (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    epoch INTEGER NOT NULL,
    node INTEGER NOT NULL,
    until INTEGER NOT NULL
) STRICT;

INSERT INTO lead (only, epoch, node, until) VALUES (1, 0, 0, 0);
