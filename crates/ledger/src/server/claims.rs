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

use std::time::{Duration, Instant};

use super::{
    change,
    fault::{CommitFault, Fail, Fault},
    fence::{self, Booking, Fence},
    insert::{Care, insert},
    open::Inner,
    patience::Patience,
    sql::Tx,
    standing::{self, Keys},
    value::values,
};
use crate::{
    CampaignNo, ClaimAsk, ClaimError, Claimed, SLOTS,
    claiming::{Batch, NewClaim, Spoilt, several},
    codec,
    codec::corrupt,
};

/// How long a batch may take, tries and all, but for its COMMIT.
const CLAIM_TIMEOUT: Duration = Duration::from_millis(1_500);
/// How long its COMMIT may take before the batch is in doubt.
const COMMIT_TIMEOUT: Duration = Duration::from_millis(1_000);

/// What became of a batch within its transaction.
enum Decided {
    /// What is told of them, and what is to be booked with them.
    Done(Claimed, Option<Booking>),
    /// Nothing of it may be written: it is to be done without these campaigns.
    Spoilt(Spoilt),
}

/// See [`crate::Ledger::claim`].
pub(super) async fn claim(
    inner: &Inner,
    slot: u8,
    asks: &[ClaimAsk],
) -> Result<Claimed, ClaimError> {
    assert!(slot < SLOTS, "a fence has 16 slots");
    if asks.is_empty() {
        return Ok(Claimed::default());
    }
    let mut spoilt = Spoilt::new();
    let claimed = claim_but(inner, slot, asks, &mut spoilt).await;
    for (campaign, reason) in &spoilt {
        halt(inner, *campaign, reason).await;
    }
    claimed
}

/// Claims, leaving out the campaigns that turn out to be `spoilt`; again after a deadlock, and with
/// more care after a row that is in the way, that another transaction holds, or that the database
/// refuses.
async fn claim_but(
    inner: &Inner,
    slot: u8,
    asks: &[ClaimAsk],
    spoilt: &mut Spoilt,
) -> Result<Claimed, ClaimError> {
    let mut patience = Patience::new();
    let mut care = inner.held.care();
    let deadline = Instant::now() + CLAIM_TIMEOUT;
    loop {
        let tried = attempt(inner, (slot, deadline), asks, spoilt, care).await;
        match tried {
            Ok(Some(claimed)) => return Ok(claimed),
            // Without the campaigns that were found to be spoilt.
            Ok(None) => {}
            Err(CommitFault::Unknown(fail)) => {
                return Err(ClaimError::InDoubt(fail.judge().to_string()));
            }
            Err(CommitFault::NotDone(fail)) => {
                let more = match fail.fault() {
                    Fault::Waited => inner.held.after(care),
                    fault => care.after(fault),
                };
                match more {
                    Some(more) => care = more,
                    None if patience.lasts(&fail).await => {}
                    None => return Err(ClaimError::NotDone(fail.judge())),
                }
            }
        }
    }
}

/// One transaction. `None`: nothing was written, and `spoilt` has grown.
async fn attempt(
    inner: &Inner,
    (slot, deadline): (u8, Instant),
    asks: &[ClaimAsk],
    spoilt: &mut Spoilt,
    care: Care,
) -> Result<Option<Claimed>, CommitFault> {
    let wanted = asks.iter().map(|ask| ask.campaign);
    let wanted = wanted.filter(|no| !spoilt.contains_key(no)).collect();
    let begun = fence::begin(inner, slot, wanted, spoilt, deadline).await;
    let (mut tx, fence, states) = begun.map_err(CommitFault::NotDone)?;
    let batch = Batch::admit(inner.now(), states, asks);
    let decided = match decide(&mut tx, &fence, batch, asks, care).await {
        Ok(decided) => decided,
        Err(fail) => {
            // For a row: the slot's lock is here.
            if fail.fault() == Fault::Waited {
                inner.held.found();
            }
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
        Decided::Done(claimed, None) => {
            tx.rollback().await.map_err(CommitFault::NotDone)?;
            Ok(Some(claimed))
        }
        Decided::Done(claimed, Some(booking)) => {
            booking.commit(tx, COMMIT_TIMEOUT).await?;
            Ok(Some(claimed))
        }
        Decided::Spoilt(more) => {
            tx.rollback().await.map_err(CommitFault::NotDone)?;
            spoilt.extend(more);
            Ok(None)
        }
    }
}

/// Everything between the locks and COMMIT.
async fn decide(
    tx: &mut Tx,
    fence: &Fence,
    mut batch: Batch<'_>,
    asks: &[ClaimAsk],
    care: Care,
) -> Result<Decided, Fail> {
    let mut inserted = 0;
    loop {
        let round = batch.next_round();
        if round.is_empty() {
            break;
        }
        let standings = standing::read(tx, &several(&round), Keys::User).await?;
        let rows = batch.ordinals(round, standings);
        if !rows.is_empty() {
            inserted += insert_round(tx, &mut batch, fence, &rows, care, inserted).await?;
        }
    }
    let books = match batch.books(asks) {
        Ok(books) => books,
        Err(spoilt) => return Ok(Decided::Spoilt(spoilt)),
    };
    let won: u64 = books.values().map(|booked| booked.claims).sum();
    if won != inserted {
        return Err(corrupt(format!("{inserted} claims were written and {won} won")).into());
    }
    let booking = fence.booking(&books, batch.claimed_at)?;
    let took = fence.taken_by(&books);
    let results = batch.results();
    Ok(Decided::Done(Claimed { results, took }, booking))
}

/// Inserts a round and decides it; tells how many rows were inserted.
async fn insert_round<'a>(
    tx: &mut Tx,
    batch: &mut Batch<'a>,
    fence: &Fence,
    rows: &[NewClaim<'a>],
    care: Care,
    already: u64,
) -> Result<u64, Fail> {
    let inserted = insert(tx, fence, rows, care, already).await?;
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
