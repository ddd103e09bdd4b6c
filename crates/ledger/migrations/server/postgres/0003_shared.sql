-- What processes share that were told nothing else: secrets, and who has tried.

-- Made once, by whichever process needs one first; never changed.
CREATE TABLE IF NOT EXISTS secrets (
    name VARCHAR(64) PRIMARY KEY,
    value TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

-- Users' last attempts, as bytes that only the account service reads; no bytes are no attempt.
-- Until `until_at` (ledger time) a row counts.
CREATE TABLE IF NOT EXISTS attempts (
    campaign_id BYTEA NOT NULL,
    user_id BYTEA NOT NULL,
    attempt BYTEA NOT NULL,
    until_at BIGINT NOT NULL,
    PRIMARY KEY (campaign_id, user_id)
);

CREATE INDEX IF NOT EXISTS attempts_by_end ON attempts (until_at);
