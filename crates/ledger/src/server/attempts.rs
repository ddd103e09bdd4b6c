//! Users' last attempts, for account processes that have no other memory in common.
//!
//! The ledger keeps them and knows nothing of them: they are bytes, compared and swapped. No win
//! depends on them, and when their time is over they are removed.

use std::collections::{BTreeMap, BTreeSet};

use rules::{CampaignId, Timestamp, UserId};

use super::{
    ServerLedger,
    fault::Fail,
    open::Inner,
    patience::Patience,
    sql::Tx,
    value::{Value, values},
};
use crate::api::Result;

/// Rows removed in one statement, at most; about.
const REMOVED_MAX: i64 = 1_000;
/// Statements of one removal.
const REMOVALS_MAX: u32 = 50;

/// A wish to put one attempt in the place of another; no bytes are no attempt.
#[derive(Clone, Copy, Debug)]
pub struct AttemptSwap<'a> {
    /// The campaign.
    pub campaign: CampaignId,
    /// Whose attempt.
    pub user: &'a UserId,
    /// What is to be there now.
    pub from: &'a [u8],
    /// What is to be there from then on; at most 64 bytes.
    pub to: &'a [u8],
    /// Until when (ledger time).
    pub until: Timestamp,
}

impl ServerLedger {
    /// Tries each of `swaps` in order, all in one transaction; for each, what was there instead,
    /// or `None` where it is done.
    ///
    /// # Errors
    /// When the database does not answer; then the swaps may or may not have happened.
    pub async fn swap_attempts(&self, swaps: &[AttemptSwap<'_>]) -> Result<Vec<Option<Vec<u8>>>> {
        if swaps.is_empty() {
            return Ok(Vec::new());
        }
        let mut patience = Patience::new();
        loop {
            match swap(&self.inner, swaps).await {
                Err(fail) if patience.lasts(&fail).await => {}
                result => return result.map_err(Fail::judge),
            }
        }
    }

    /// Removes attempts whose time is over, and says whether there may be more.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn forget_attempts(&self) -> Result<bool> {
        for _ in 0..REMOVALS_MAX {
            let mut patience = Patience::new();
            let more = loop {
                match forget(&self.inner).await {
                    Err(fail) if patience.lasts(&fail).await => {}
                    result => break result.map_err(Fail::judge)?,
                }
            };
            if !more {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Attempts by campaign and user, as the table has them.
type Attempts = BTreeMap<(CampaignId, UserId), Vec<u8>>;

async fn swap(inner: &Inner, swaps: &[AttemptSwap<'_>]) -> Result<Vec<Option<Vec<u8>>>, Fail> {
    let mut tx = inner.begin().await?;
    let mut found = locked(&mut tx, swaps, inner.now()).await?;
    let mut changed: BTreeMap<(CampaignId, UserId), &AttemptSwap<'_>> = BTreeMap::new();
    let mut swapped = Vec::with_capacity(swaps.len());
    for swap in swaps {
        let key = (swap.campaign, swap.user.clone());
        let there = found.get(&key).map_or(&[][..], Vec::as_slice);
        if there == swap.from {
            found.insert(key.clone(), swap.to.to_vec());
            changed.insert(key, swap);
            swapped.push(None);
        } else {
            swapped.push(Some(there.to_vec()));
        }
    }
    if changed.is_empty() {
        tx.rollback().await?;
        return Ok(swapped);
    }
    let row = |swap: &&AttemptSwap<'_>| {
        values![
            swap.campaign.0.as_bytes(),
            swap.user,
            swap.to,
            swap.until.micros()
        ]
        .to_vec()
    };
    let rows: Vec<_> = changed.values().map(row).collect();
    let tail = tx
        .dialect()
        .upsert("campaign_id, user_id", &["attempt", "until_at"]);
    tx.insert_rows(HEAD, &rows, &tail).await?;
    tx.commit().await?;
    Ok(swapped)
}

const HEAD: &str = "INSERT INTO attempts (campaign_id, user_id, attempt, until_at)";

/// What is there now of all users of `swaps`, whose rows are locked until the transaction ends;
/// in one order, so that two transactions do not wait for each other.
async fn locked(tx: &mut Tx, swaps: &[AttemptSwap<'_>], now: Timestamp) -> Result<Attempts, Fail> {
    let mut users: BTreeMap<CampaignId, BTreeSet<&UserId>> = BTreeMap::new();
    for swap in swaps {
        users.entry(swap.campaign).or_default().insert(swap.user);
    }
    let until = swaps.iter().map(|swap| swap.until).max().unwrap_or(now);
    let mut found = Attempts::new();
    for (campaign, users) in users {
        // Rows that are missing are made: what is not there cannot be locked.
        let row = |user: &&UserId| {
            let (id, nothing) = (campaign.0.as_bytes(), &[][..]);
            values![id, *user, nothing, until.micros()].to_vec()
        };
        let rows: Vec<_> = users.iter().map(row).collect();
        let tail = tx.dialect().passing_over("user_id");
        let ids: Vec<_> = users.iter().map(|user| Value::from(*user)).collect();
        let sql = "SELECT user_id, attempt, until_at FROM attempts WHERE campaign_id = ? AND \
                   user_id {IN} ORDER BY user_id FOR UPDATE";
        let campaign_id = values![campaign.0.as_bytes()];
        // PostgreSQL passes over a row without locking it: before the SELECT it may be forgotten.
        // Then once more; the transaction's deadline bounds it.
        let rows = loop {
            tx.insert_rows(HEAD, &rows, &tail).await?;
            let locked = tx.fetch_in(sql, &campaign_id, &ids).await?;
            if locked.len() == ids.len() {
                break locked;
            }
        };
        for row in rows {
            if row.int(2)? > now.micros() {
                found.insert((campaign, row.user(0)?), row.bytes(1)?.to_vec());
            }
        }
    }
    Ok(found)
}

/// Removes some of what is over; says whether there may be more.
async fn forget(inner: &Inner) -> Result<bool, Fail> {
    let now = inner.now().micros();
    let sql =
        "SELECT until_at FROM attempts WHERE until_at <= ? ORDER BY until_at LIMIT 1 OFFSET ?";
    let mut reader = inner.reader().await?;
    let row = reader
        .fetch_optional(sql, &values![now, REMOVED_MAX])
        .await?;
    drop(reader);
    let (upto, more) = match row {
        Some(row) => (row.int(0)?, true),
        None => (now, false),
    };
    let mut tx = inner.begin().await?;
    let sql = "DELETE FROM attempts WHERE until_at <= ?";
    tx.execute(sql, &values![upto]).await?;
    tx.commit().await?;
    Ok(more)
}
