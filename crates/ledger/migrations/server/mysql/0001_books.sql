-- The books, people and counters.
-- Times are microseconds since the Unix epoch (ledger time); amounts are minor units. Every
-- number is a BIGINT, so that every one is read alike. Ids and user ids are
-- bytes, so that only equal bytes are equal, spaces at the end included.

-- Single numbers of the whole ledger. Of `people` only the lock counts.
CREATE TABLE IF NOT EXISTS meta (
    name VARCHAR(32) PRIMARY KEY,
    value BIGINT NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

INSERT IGNORE INTO meta (name, value) VALUES ('version', 0), ('campaigns', 0), ('people', 0), ('time', 0);

-- Numbered out of meta, so that numbers ascend on every database.
CREATE TABLE IF NOT EXISTS campaigns (
    no BIGINT PRIMARY KEY,
    id BINARY(16) NOT NULL,
    title LONGTEXT NOT NULL,
    currency VARCHAR(16) NOT NULL,
    starts_at BIGINT NOT NULL,
    ends_at BIGINT NOT NULL,
    interval_seconds BIGINT NOT NULL,
    win_limit LONGTEXT NOT NULL,
    rules LONGTEXT NOT NULL,
    seed BINARY(32) NOT NULL,
    commitment BINARY(32) NOT NULL,
    -- Sums over the tranches, so that a claim can check them without reading the tranches.
    packets BIGINT NOT NULL,
    budget BIGINT NOT NULL,
    -- How often a wave has opened: the period of a claim where the limit is per wave.
    openings BIGINT NOT NULL DEFAULT 0,
    paused_at BIGINT,
    closed_at BIGINT,
    halted LONGTEXT,
    created_at BIGINT NOT NULL,
    version BIGINT NOT NULL,
    CONSTRAINT campaigns_by_id UNIQUE (id),
    CONSTRAINT campaigns_by_version UNIQUE (version)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE IF NOT EXISTS tranches (
    campaign_no BIGINT NOT NULL,
    number BIGINT NOT NULL,
    packets BIGINT NOT NULL,
    split LONGTEXT NOT NULL,
    PRIMARY KEY (campaign_no, number)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE IF NOT EXISTS waves (
    campaign_no BIGINT NOT NULL,
    number BIGINT NOT NULL,
    tranche BIGINT NOT NULL,
    first BIGINT NOT NULL,
    packets BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    -- 0 planned, 1 issuing, 2 open.
    state BIGINT NOT NULL DEFAULT 0,
    bundle_size BIGINT NOT NULL DEFAULT 0,
    algorithm BIGINT NOT NULL DEFAULT 0,
    digest BINARY(32),
    opened_at BIGINT,
    opening BIGINT,
    PRIMARY KEY (campaign_no, number)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- Claims and the close exclude each other through the locks of these rows; see design,
-- "Closing".
CREATE TABLE IF NOT EXISTS fence (
    campaign_no BIGINT NOT NULL,
    slot BIGINT NOT NULL,
    closed BIGINT NOT NULL DEFAULT 0,
    claims BIGINT NOT NULL DEFAULT 0,
    amount BIGINT NOT NULL DEFAULT 0,
    -- Ledger time of the latest claim, below which the time never starts again.
    last_at BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (campaign_no, slot)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- The hot table. The fence row, which every claim locks, stands for a foreign key.
CREATE TABLE IF NOT EXISTS claims (
    campaign_no BIGINT NOT NULL,
    wave BIGINT NOT NULL,
    idx BIGINT NOT NULL,
    claim_id BINARY(16) NOT NULL,
    user_id VARBINARY(256) NOT NULL,
    amount BIGINT NOT NULL,
    tier BIGINT,
    claimed_at BIGINT NOT NULL,
    period BIGINT NOT NULL,
    ordinal BIGINT NOT NULL,
    grab_id BINARY(16),
    redeemed_at BIGINT,
    -- The fence slot it came through, and the claims of that slot when its batch began plus 1:
    -- who has seen n claims of a slot misses those with a slot_seq above n, and no others.
    slot BIGINT NOT NULL,
    slot_seq BIGINT NOT NULL,
    PRIMARY KEY (campaign_no, wave, idx),
    CONSTRAINT claims_by_user UNIQUE (campaign_no, user_id, period, ordinal),
    CONSTRAINT claims_by_grab UNIQUE (campaign_no, user_id, grab_id),
    KEY claims_by_slot (campaign_no, slot, slot_seq),
    CONSTRAINT claims_hold_something CHECK (amount > 0)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE IF NOT EXISTS refunds (
    campaign_no BIGINT PRIMARY KEY,
    packets BIGINT NOT NULL,
    amount BIGINT NOT NULL,
    refunded_at BIGINT NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- Only bundles that were held or sent again; the first sending is the wave's opening.
CREATE TABLE IF NOT EXISTS bundles (
    campaign_no BIGINT NOT NULL,
    wave BIGINT NOT NULL,
    first_index BIGINT NOT NULL,
    packets BIGINT NOT NULL,
    node BIGINT,
    held_until BIGINT,
    sent_at BIGINT,
    resent BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (campaign_no, wave, first_index)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE IF NOT EXISTS idempotency (
    once_key VARBINARY(512) NOT NULL,
    body_digest BINARY(32) NOT NULL,
    campaign_id BINARY(16) NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (once_key)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE IF NOT EXISTS users (
    id VARBINARY(256) NOT NULL,
    code_hash BINARY(32) NOT NULL,
    name LONGTEXT,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT users_by_code UNIQUE (code_hash)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE IF NOT EXISTS organisers (
    username VARBINARY(512) NOT NULL,
    password_hash LONGTEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (username)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE IF NOT EXISTS sessions (
    token_hash BINARY(32) NOT NULL,
    username VARBINARY(512) NOT NULL,
    expires_at BIGINT NOT NULL,
    KEY sessions_by_expiry (expires_at),
    PRIMARY KEY (token_hash)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE IF NOT EXISTS counters (
    campaign_no BIGINT NOT NULL,
    second BIGINT NOT NULL,
    node BIGINT NOT NULL,
    tally LONGBLOB NOT NULL,
    PRIMARY KEY (campaign_no, second, node)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- One row for each node that counts, until it ends properly. Those of dead nodes stay: they are
-- the gaps.
CREATE TABLE IF NOT EXISTS epochs (
    node BIGINT PRIMARY KEY,
    counted_to BIGINT NOT NULL,
    -- When it was noticed that the node had not counted for too long, NULL while it lives.
    lost_at BIGINT
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
