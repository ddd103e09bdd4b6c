-- What processes share that were told nothing else: secrets, and who has tried.

-- Made once, by whichever process needs one first; never changed.
CREATE TABLE IF NOT EXISTS secrets (
    name VARCHAR(64) PRIMARY KEY,
    value LONGTEXT NOT NULL,
    created_at BIGINT NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- Users' last attempts, as bytes that only the account service reads; no bytes are no attempt.
-- Until `until_at` (ledger time) a row counts.
CREATE TABLE IF NOT EXISTS attempts (
    campaign_id BINARY(16) NOT NULL,
    user_id VARBINARY(256) NOT NULL,
    attempt VARBINARY(64) NOT NULL,
    until_at BIGINT NOT NULL,
    PRIMARY KEY (campaign_id, user_id),
    KEY attempts_by_end (until_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
