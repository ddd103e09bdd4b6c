-- What was answered, second by second, and which spans of it a dead node may have lost.

CREATE TABLE counters (
    campaign_no INTEGER NOT NULL,
    second INTEGER NOT NULL,
    node INTEGER NOT NULL,
    tally BLOB NOT NULL,
    PRIMARY KEY (campaign_no, second, node)
) STRICT, WITHOUT ROWID;

CREATE TABLE epochs (
    node INTEGER PRIMARY KEY,
    counted_to INTEGER NOT NULL
) STRICT;

CREATE TABLE gaps (
    from_at INTEGER NOT NULL,
    to_at INTEGER NOT NULL,
    PRIMARY KEY (from_at, to_at)
) STRICT, WITHOUT ROWID;
