-- The books: campaigns, their waves, the fence, claims and refunds.
-- Times are microseconds since the Unix epoch (ledger time); amounts are minor units.

-- Single numbers of the whole ledger.
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO meta (key, value) VALUES ('version', 0), ('time', 0);

CREATE TABLE campaigns (
    no INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    title TEXT NOT NULL,
    currency TEXT NOT NULL,
    starts_at INTEGER NOT NULL,
    ends_at INTEGER NOT NULL,
    interval_seconds INTEGER NOT NULL,
    win_limit TEXT NOT NULL,
    rules TEXT NOT NULL,
    seed BLOB NOT NULL,
    commitment BLOB NOT NULL,
    -- Sums over the tranches, so that a claim can check them without reading the tranches.
    packets INTEGER NOT NULL,
    budget INTEGER NOT NULL,
    -- How often a wave has opened: the period of a claim where the limit is per wave.
    openings INTEGER NOT NULL DEFAULT 0,
    paused_at INTEGER,
    closed_at INTEGER,
    halted TEXT,
    created_at INTEGER NOT NULL,
    version INTEGER NOT NULL UNIQUE
) STRICT;

CREATE TABLE tranches (
    campaign_no INTEGER NOT NULL REFERENCES campaigns (no),
    number INTEGER NOT NULL,
    packets INTEGER NOT NULL,
    split TEXT NOT NULL,
    PRIMARY KEY (campaign_no, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE waves (
    campaign_no INTEGER NOT NULL REFERENCES campaigns (no),
    number INTEGER NOT NULL,
    tranche INTEGER NOT NULL,
    first INTEGER NOT NULL,
    packets INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    -- 0 planned, 1 issuing, 2 open.
    state INTEGER NOT NULL DEFAULT 0,
    bundle_size INTEGER NOT NULL DEFAULT 0,
    algorithm INTEGER NOT NULL DEFAULT 0,
    digest BLOB,
    opened_at INTEGER,
    opening INTEGER,
    PRIMARY KEY (campaign_no, number)
) STRICT, WITHOUT ROWID;

-- Claims and the close exclude each other through these rows; see design, "Closing".
CREATE TABLE fence (
    campaign_no INTEGER NOT NULL REFERENCES campaigns (no),
    slot INTEGER NOT NULL,
    closed INTEGER NOT NULL DEFAULT 0,
    claims INTEGER NOT NULL DEFAULT 0,
    amount INTEGER NOT NULL DEFAULT 0,
    -- Ledger time of the latest claim, below which the time never starts again.
    last_at INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (campaign_no, slot)
) STRICT, WITHOUT ROWID;

-- The hot table, as light as it can be: the fence row stands for a foreign key.
CREATE TABLE claims (
    campaign_no INTEGER NOT NULL,
    wave INTEGER NOT NULL,
    idx INTEGER NOT NULL,
    claim_id BLOB NOT NULL,
    user TEXT NOT NULL,
    amount INTEGER NOT NULL CHECK (amount > 0),
    tier INTEGER,
    claimed_at INTEGER NOT NULL,
    period INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    grab_id BLOB,
    redeemed_at INTEGER,
    PRIMARY KEY (campaign_no, wave, idx)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX claims_by_user ON claims (campaign_no, user, period, ordinal);
CREATE UNIQUE INDEX claims_by_grab ON claims (campaign_no, user, grab_id)
WHERE grab_id IS NOT NULL;

CREATE TABLE refunds (
    campaign_no INTEGER PRIMARY KEY REFERENCES campaigns (no),
    packets INTEGER NOT NULL,
    amount INTEGER NOT NULL,
    refunded_at INTEGER NOT NULL
) STRICT;

-- Only bundles that were held or sent again; the first sending is the wave's opening.
CREATE TABLE bundles (
    campaign_no INTEGER NOT NULL,
    wave INTEGER NOT NULL,
    first_index INTEGER NOT NULL,
    packets INTEGER NOT NULL,
    node INTEGER,
    held_until INTEGER,
    sent_at INTEGER,
    resent INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (campaign_no, wave, first_index)
) STRICT, WITHOUT ROWID;

CREATE TABLE idempotency (
    key TEXT PRIMARY KEY,
    body_digest BLOB NOT NULL,
    campaign_id BLOB NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
