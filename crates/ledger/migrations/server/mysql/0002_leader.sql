-- Which monitor leads: one row, taken over when its time is up.

CREATE TABLE IF NOT EXISTS leader (
    only_row BIGINT PRIMARY KEY,
    epoch BIGINT NOT NULL,
    node BIGINT NOT NULL,
    until_at BIGINT NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

INSERT IGNORE INTO leader (only_row, epoch, node, until_at) VALUES (1, 0, 0, 0);
