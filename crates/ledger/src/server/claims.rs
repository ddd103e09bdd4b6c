//! Claiming: the hot path. One transaction per batch; see "Claiming" in the design.
//!
//! # What is locked
//! A claim locks its own slot's fence row of each campaign, in the order of the campaigns, until
//! it ends; close and looks lock all slots of one campaign in order. Beyond that two claims wait
//! for each other only where both insert the same packet or user: the keys decide who has it.
//!
//! READ COMMITTED is enough, and on purpose: what an insert could not write because another
//! transaction had it first must be visible when it is read back, and a snapshot of the
//! transaction's begin would hide it.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use rules::Timestamp;

use super::{
    change,
    dialect::Dialect,
    fault::{CommitFault, Fail, Fault},
    insert::{Care, insert},
    open::Inner,
    patience::Patience,
    sql::Tx,
    standing::{self, Keys},
    value::{Value, values},
    wins,
};
use crate::{
    CampaignNo, ClaimAsk, ClaimError, ClaimResult, LedgerError, Win,
    claiming::{Batch, Booked, NewClaim, Spoilt, State, several},
    codec,
    codec::corrupt,
    issue::SLOTS,
};

/// How long a batch may take, tries and all, but for its COMMIT.
const CLAIM_TIMEOUT: Duration = Duration::from_millis(1_500);
/// How long its COMMIT may take before the batch is in doubt.
const COMMIT_TIMEOUT: Duration = Duration::from_millis(1_000);

/// What became of a batch within its transaction.
enum Decided {
    /// The results, and how many of them are new wins.
    Done(Vec<ClaimResult>, u64),
    /// Nothing of it may be written: it is to be done without these campaigns.
    Spoilt(Spoilt),
}

/// See [`crate::Ledger::claim`].
pub(super) async fn claim(
    inner: &Inner,
    slot: u8,
    asks: &[ClaimAsk],
) -> Result<Vec<ClaimResult>, ClaimError> {
    assert!(slot < SLOTS, "a fence has 16 slots");
    if asks.is_empty() {
        return Ok(Vec::new());
    }
    let mut spoilt = Spoilt::new();
    let claimed = claim_but(inner, slot, asks, &mut spoilt).await;
    for (campaign, reason) in &spoilt {
        halt(inner, *campaign, reason).await;
    }
    claimed
}

/// Claims, leaving out the campaigns that turn out to be `spoilt`; again after a deadlock or a
/// lock time-out, and with more care after a row that the database refuses.
async fn claim_but(
    inner: &Inner,
    slot: u8,
    asks: &[ClaimAsk],
    spoilt: &mut Spoilt,
) -> Result<Vec<ClaimResult>, ClaimError> {
    let mut patience = Patience::new();
    let mut care = Care::Usual;
    let deadline = Instant::now() + CLAIM_TIMEOUT;
    loop {
        let tx = inner.begin_by(deadline).await;
        let tx = tx.map_err(|fail| ClaimError::NotDone(fail.judge()))?;
        let tried = attempt(inner, tx, slot, asks, spoilt, care).await;
        match tried {
            Ok(Some(results)) => return Ok(results),
            // Without the campaigns that were found to be spoilt.
            Ok(None) => {}
            Err(CommitFault::Unknown(fail)) => {
                return Err(ClaimError::InDoubt(fail.judge().to_string()));
            }
            Err(CommitFault::NotDone(fail)) => {
                if fail.fault() == Fault::Row && care == Care::Usual {
                    care = Care::EachRow;
                } else if !patience.lasts(&fail).await {
                    return Err(ClaimError::NotDone(fail.judge()));
                }
            }
        }
    }
}

/// One transaction. `None`: nothing was written, and `spoilt` has grown.
async fn attempt(
    inner: &Inner,
    mut tx: Tx,
    slot: u8,
    asks: &[ClaimAsk],
    spoilt: &mut Spoilt,
    care: Care,
) -> Result<Option<Vec<ClaimResult>>, CommitFault> {
    let decided = match decide(inner, &mut tx, slot, asks, spoilt, care).await {
        Ok(decided) => decided,
        Err(fail) => {
            // Explicitly, so that its locks are gone before the next try. When this fails too,
            // the connection is closed, and COMMIT was never sent.
            if fail.fault() != Fault::Lost
                && let Err(again) = tx.rollback().await
            {
                tracing::debug!(error = %again.judge(), "a claim was not rolled back in order");
            }
            return Err(CommitFault::NotDone(fail));
        }
    };
    match decided {
        Decided::Done(results, 0) => {
            tx.rollback().await.map_err(CommitFault::NotDone)?;
            Ok(Some(results))
        }
        Decided::Done(results, _) => {
            tx.commit_within(COMMIT_TIMEOUT).await?;
            Ok(Some(results))
        }
        Decided::Spoilt(more) => {
            tx.rollback().await.map_err(CommitFault::NotDone)?;
            spoilt.extend(more);
            Ok(None)
        }
    }
}

/// Everything between BEGIN and COMMIT.
async fn decide(
    inner: &Inner,
    tx: &mut Tx,
    slot: u8,
    asks: &[ClaimAsk],
    spoilt: &mut Spoilt,
    care: Care,
) -> Result<Decided, Fail> {
    let campaigns: Vec<CampaignNo> = {
        let wanted = asks.iter().map(|ask| ask.campaign);
        let mut wanted: Vec<_> = wanted.filter(|no| !spoilt.contains_key(no)).collect();
        wanted.sort_unstable();
        wanted.dedup();
        wanted
    };
    let locked = lock(tx, slot, &campaigns).await?;
    let states = states(tx, &locked, spoilt).await?;
    let mut batch = Batch::admit(inner.now(), states, asks);
    let mut inserted = 0;
    loop {
        let round = batch.next_round();
        if round.is_empty() {
            break;
        }
        let standings = standing::read(tx, &several(&round), Keys::User).await?;
        let rows = batch.ordinals(round, standings);
        if !rows.is_empty() {
            inserted +=
                insert_round(tx, &mut batch, (slot, &locked), &rows, care, inserted).await?;
        }
    }
    let books = match batch.books(asks) {
        Ok(books) => books,
        Err(spoilt) => return Ok(Decided::Spoilt(spoilt)),
    };
    let won = books.values().map(|booked| booked.claims).sum();
    if won != inserted {
        return Err(corrupt(format!("{inserted} claims were written and {won} won")).into());
    }
    for (campaign, booked) in books {
        book(tx, slot, campaign, booked, batch.claimed_at).await?;
    }
    Ok(Decided::Done(batch.results(), won))
}

/// Own slots as they are under their locks: whether closed, and how many claims.
pub(super) type Locked = BTreeMap<CampaignNo, (bool, i64)>;

/// Locks the slot's rows in the order of the campaigns.
async fn lock(tx: &mut Tx, slot: u8, campaigns: &[CampaignNo]) -> Result<Locked, Fail> {
    let keys: Vec<Value> = campaigns.iter().map(|no| no.0.into()).collect();
    let rows = tx
        .fetch_in(
            "SELECT campaign_no, closed, claims FROM fence {BY PRIMARY} \
             WHERE slot = ? AND campaign_no {IN} ORDER BY campaign_no FOR UPDATE",
            &values![i64::from(slot)],
            &keys,
        )
        .await?;
    let locked =
        |row: &super::value::Row| Ok((CampaignNo(row.int(0)?), (row.flag(1)?, row.int(2)?)));
    rows.iter().map(locked).collect()
}

/// What a claim must know of each campaign, read after the lock: a statement of its own, because
/// PostgreSQL would show the other tables as they were before the wait for the lock.
async fn states(
    tx: &mut Tx,
    locked: &Locked,
    spoilt: &mut Spoilt,
) -> Result<BTreeMap<CampaignNo, State>, Fail> {
    let keys: Vec<Value> = locked.keys().map(|no| no.0.into()).collect();
    let rows = tx
        .fetch_in(
            "SELECT c.no, CASE WHEN c.halted IS NULL THEN 0 ELSE 1 END, c.openings, c.packets, \
             c.budget, f.claims, f.amount, f.last_at FROM campaigns c \
             JOIN (SELECT campaign_no, CAST(sum(claims) AS {INT}) AS claims, \
             CAST(sum(amount) AS {INT}) AS amount, max(last_at) AS last_at FROM fence \
             WHERE campaign_no {IN} GROUP BY campaign_no) f ON f.campaign_no = c.no",
            &[],
            &keys,
        )
        .await?;
    let mut states = BTreeMap::new();
    for row in &rows {
        let campaign = CampaignNo(row.int(0)?);
        match state(row, locked[&campaign].0) {
            Ok(state) => drop(states.insert(campaign, state)),
            Err(Fail::Ledger(LedgerError::Corrupt(why))) => drop(spoilt.insert(campaign, why)),
            Err(fail) => return Err(fail),
        }
    }
    Ok(states)
}

fn state(row: &super::value::Row, closed: bool) -> Result<State, Fail> {
    Ok(State {
        closed,
        halted: row.flag(1)?,
        openings: codec::small(row.int(2)?, "a campaign's openings")?,
        packets: codec::count(row.int(3)?)?,
        budget: codec::amount(row.int(4)?)?,
        claims: codec::count(row.int(5)?)?,
        claimed: codec::amount(row.int(6)?)?,
        last_at: Timestamp::from_micros(row.int(7)?),
    })
}

/// Inserts a round and decides it; tells how many rows were inserted.
async fn insert_round<'a>(
    tx: &mut Tx,
    batch: &mut Batch<'a>,
    slot: (u8, &Locked),
    rows: &[NewClaim<'a>],
    care: Care,
    already: u64,
) -> Result<u64, Fail> {
    let inserted = insert(tx, slot, rows, care, already).await?;
    if inserted.rows == rows.len() as u64 {
        // As many as were sent: all of them, and none of another.
        batch.all_won(rows);
    } else {
        let asks: Vec<_> = rows.iter().map(|row| (row.ask, row.period)).collect();
        let standings = standing::read(tx, &asks, Keys::All).await?;
        batch.judge(rows, &standings, &inserted.refused);
    }
    Ok(inserted.rows)
}

/// Adds the new wins of a campaign to its fence.
async fn book(
    tx: &mut Tx,
    slot: u8,
    campaign: CampaignNo,
    booked: Booked,
    claimed_at: Timestamp,
) -> Result<(), Fail> {
    let done = tx
        .execute(
            "UPDATE fence SET claims = claims + ?, amount = amount + ?, last_at = ? \
             WHERE campaign_no = ? AND slot = ? AND closed = 0",
            &values![
                codec::to_column(booked.claims)?,
                codec::amount_to_column(booked.amount),
                claimed_at.micros(),
                campaign.0,
                i64::from(slot),
            ],
        )
        .await?;
    if done == 1 {
        return Ok(());
    }
    Err(corrupt(format!(
        "slot {slot} of campaign {} closed under its lock",
        campaign.0
    ))
    .into())
}

/// Stops a campaign whose books cannot be right. When that fails, the next batch finds out anew.
async fn halt(inner: &Inner, campaign: CampaignNo, reason: &str) {
    tracing::error!(
        campaign.no = campaign.0,
        reason,
        "claims of a campaign are stopped"
    );
    let halted = async {
        let sql = "SELECT id FROM campaigns WHERE no = ?";
        let mut reader = inner.reader().await?;
        let found = reader.fetch_optional(sql, &values![campaign.0]).await?;
        match found {
            Some(row) => change::halt(inner, codec::campaign_id(row.bytes(0)?)?, reason).await,
            None => Ok(()),
        }
    };
    if let Err(fail) = halted.await {
        let error = fail.judge();
        tracing::error!(campaign.no = campaign.0, %error, "a campaign could not be halted");
    }
}

/// See [`crate::Ledger::settle`]. The lock is had once the transaction in doubt has ended: it
/// held the same row until then. The connection is another, since that one was closed.
pub(super) async fn settle(
    inner: &Inner,
    slot: u8,
    asks: &[ClaimAsk],
) -> Result<Vec<Option<Win>>, Fail> {
    let mut campaigns: Vec<_> = asks.iter().map(|ask| ask.campaign).collect();
    campaigns.sort_unstable();
    campaigns.dedup();
    let mut tx = inner.begin().await?;
    lock(&mut tx, slot, &campaigns).await?;
    let asks: Vec<_> = asks.iter().collect();
    let found = standing::packets(&mut tx, &asks).await?;
    tx.rollback().await?;
    let own = |(found, ask): (Option<(rules::ClaimId, Win)>, &&ClaimAsk)| {
        let (id, win) = found?;
        (id == ask.id).then_some(win)
    };
    Ok(found.into_iter().zip(&asks).map(own).collect())
}

/// See [`crate::Ledger::look`].
pub(super) async fn look(
    inner: &Inner,
    campaign: CampaignNo,
    users: &[rules::UserId],
) -> Result<Vec<Vec<Win>>, Fail> {
    // Once through every lock: what was being committed is committed, or never will be. Rolled
    // back, because a commit would wait for the disk, though nothing was written.
    let mut tx = inner.begin().await?;
    tx.fetch_all(
        "SELECT slot FROM fence WHERE campaign_no = ? ORDER BY slot FOR UPDATE",
        &values![campaign.0],
    )
    .await?;
    tx.rollback().await?;
    wins::of_users(&mut inner.reader().await?, campaign, users).await
}

/// How many rows of this batch are there: told by the slot's own numbering, under its lock.
pub(super) async fn count_new(tx: &mut Tx, slot: u8, locked: &Locked) -> Result<u64, Fail> {
    debug_assert_eq!(
        tx.dialect(),
        Dialect::MySql,
        "others tell it with the insert"
    );
    let mut new = 0;
    for (campaign, (_, before)) in locked {
        let row = tx
            .fetch_one(
                "SELECT count(*) FROM claims {BY claims_by_slot} \
                 WHERE campaign_no = ? AND slot = ? AND slot_seq > ?",
                &values![campaign.0, i64::from(slot), *before],
            )
            .await?;
        new += codec::count(row.int(0)?)?;
    }
    Ok(new)
}
