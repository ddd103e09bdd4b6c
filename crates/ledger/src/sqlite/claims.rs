//! Claiming: the hot path. One transaction per batch; see "Claiming" in the design.

use std::collections::BTreeMap;

use rules::{Timestamp, UserId};
use sqlx::{Row as _, SqliteConnection};

use super::{
    change,
    fault::Fail,
    insert::insert,
    open::Inner,
    standing::{self, Keys},
    wins,
    write::{CommitFault, Write},
};
use crate::{
    CampaignNo, ClaimAsk, ClaimError, ClaimResult, LedgerError, SLOTS, Win,
    claiming::{Batch, Booked, NewClaim, Spoilt, State, several},
    codec,
    codec::corrupt,
    conflict::Standing,
};

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

/// Claims, leaving out the campaigns that turn out to be `spoilt`.
async fn claim_but(
    inner: &Inner,
    slot: u8,
    asks: &[ClaimAsk],
    spoilt: &mut Spoilt,
) -> Result<Vec<ClaimResult>, ClaimError> {
    let not_done = |fail| ClaimError::NotDone(inner.writer.judge(fail));
    let (write, results, won) = loop {
        let mut write = inner.writer.begin().await.map_err(not_done)?;
        match decide(inner, &mut write, slot, asks, spoilt).await {
            Ok(Decided::Done(results, won)) => break (write, results, won),
            Ok(Decided::Spoilt(more)) => {
                write.rollback().await.map_err(not_done)?;
                spoilt.extend(more);
            }
            Err(fail) => return Err(not_done(fail)),
        }
    };
    if won == 0 {
        write.rollback().await.map_err(not_done)?;
        return Ok(results);
    }
    // Each user has a place of its own in the index; packets of a batch lie side by side.
    match write.commit(won + 8).await {
        Ok(()) => Ok(results),
        Err(CommitFault::NotDone(fail)) => {
            let error = inner.writer.judge(fail);
            Err(match absent(inner, asks, &results).await {
                true => ClaimError::NotDone(error),
                false => ClaimError::InDoubt(error.to_string()),
            })
        }
        Err(CommitFault::Unknown(fail)) => {
            Err(ClaimError::InDoubt(inner.writer.judge(fail).to_string()))
        }
    }
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
        let id: Option<Vec<u8>> = sqlx::query_scalar(sql)
            .bind(campaign.0)
            .fetch_optional(&mut *inner.reader().await?)
            .await?;
        match id {
            Some(id) => change::halt(inner, codec::campaign_id(&id)?, reason).await,
            None => Ok(()),
        }
    };
    if let Err(fail) = halted.await {
        let error = inner.writer.judge(fail);
        tracing::error!(campaign.no = campaign.0, %error, "a campaign could not be halted");
    }
}

/// Whether the books certainly do not hold a batch whose commit was rolled back.
async fn absent(inner: &Inner, asks: &[ClaimAsk], results: &[ClaimResult]) -> bool {
    let won = |(_, result): &(_, &ClaimResult)| matches!(result, ClaimResult::Won(_));
    // All of a transaction is there, or nothing: one row tells.
    let Some((ask, _)) = asks.iter().zip(results).find(won) else {
        return true;
    };
    matches!(settle(inner, std::slice::from_ref(ask)).await, Ok(wins) if wins == [None])
}

/// Everything between BEGIN and COMMIT.
async fn decide(
    inner: &Inner,
    write: &mut Write<'_>,
    slot: u8,
    asks: &[ClaimAsk],
    spoilt: &mut Spoilt,
) -> Result<Decided, Fail> {
    let conn = write.conn();
    let mut states = BTreeMap::new();
    for ask in asks {
        let campaign = ask.campaign;
        if states.contains_key(&campaign) || spoilt.contains_key(&campaign) {
            continue;
        }
        match state(conn, campaign, slot).await {
            Ok(Some(state)) => drop(states.insert(campaign, state)),
            Ok(None) => {}
            Err(Fail::Ledger(LedgerError::Corrupt(why))) => drop(spoilt.insert(campaign, why)),
            Err(fail) => return Err(fail),
        }
    }
    let mut batch = Batch::admit(inner.now(), states, asks);
    let mut inserted = 0;
    loop {
        let round = batch.next_round();
        if round.is_empty() {
            break;
        }
        let standings = standing::read(conn, &several(&round), Keys::User).await?;
        let rows = batch.ordinals(round, standings);
        inserted += insert_round(conn, &mut batch, &rows).await?;
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
        book(conn, slot, campaign, booked, batch.claimed_at).await?;
    }
    Ok(Decided::Done(batch.results(), won))
}

/// Inserts a round and decides it; tells how many rows were inserted.
async fn insert_round<'a>(
    conn: &mut SqliteConnection,
    batch: &mut Batch<'a>,
    rows: &[NewClaim<'a>],
) -> Result<u64, Fail> {
    let inserted = insert(conn, rows).await?;
    if inserted.rows == rows.len() as u64 {
        // As many as were sent: all of them, and none of another.
        assert!(inserted.refused.is_empty(), "a refused row is not inserted");
        batch.all_won(rows);
    } else {
        let asks: Vec<_> = rows.iter().map(|row| (row.ask, row.period)).collect();
        let standings = standing::read(conn, &asks, Keys::All).await?;
        batch.judge(rows, &standings, &inserted.refused);
    }
    Ok(inserted.rows)
}

/// Adds the new wins of a campaign to its fence.
async fn book(
    conn: &mut SqliteConnection,
    slot: u8,
    campaign: CampaignNo,
    booked: Booked,
    claimed_at: Timestamp,
) -> Result<(), Fail> {
    let done = sqlx::query(
        "UPDATE fence SET claims = claims + ?, amount = amount + ?, last_at = ? \
         WHERE campaign_no = ? AND slot = ? AND closed = 0",
    )
    .bind(codec::to_column(booked.claims)?)
    .bind(codec::amount_to_column(booked.amount))
    .bind(claimed_at.micros())
    .bind(campaign.0)
    .bind(i64::from(slot))
    .execute(conn)
    .await?;
    assert_eq!(done.rows_affected(), 1, "the slot was open under this lock");
    Ok(())
}

async fn state(
    conn: &mut SqliteConnection,
    campaign: CampaignNo,
    slot: u8,
) -> Result<Option<State>, Fail> {
    let row = sqlx::query(
        "SELECT max(f.closed) FILTER (WHERE f.slot = ?), c.halted IS NOT NULL, c.openings, \
         c.packets, c.budget, sum(f.claims), sum(f.amount), max(f.last_at) \
         FROM campaigns AS c JOIN fence AS f ON f.campaign_no = c.no WHERE c.no = ? GROUP BY c.no",
    )
    .bind(i64::from(slot))
    .bind(campaign.0)
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(State {
        closed: row.try_get(0)?,
        halted: row.try_get(1)?,
        openings: codec::small(row.try_get(2)?, "a campaign's openings")?,
        packets: codec::count(row.try_get(3)?)?,
        budget: codec::amount(row.try_get(4)?)?,
        claims: codec::count(row.try_get(5)?)?,
        claimed: codec::amount(row.try_get(6)?)?,
        last_at: Timestamp::from_micros(row.try_get(7)?),
    }))
}

/// See [`crate::Ledger::settle`]. The write lock is every slot's lock.
pub(super) async fn settle(inner: &Inner, asks: &[ClaimAsk]) -> Result<Vec<Option<Win>>, Fail> {
    let mut write = inner.writer.begin().await?;
    let asks: Vec<_> = asks.iter().map(|ask| (ask, 0)).collect();
    let standings = standing::read(write.conn(), &asks, Keys::All).await?;
    write.rollback().await?;
    let own = |(standing, (ask, _)): (Standing, &(&ClaimAsk, i64))| {
        let (id, win) = standing.packet?;
        (id == ask.id).then_some(win)
    };
    Ok(standings.into_iter().zip(&asks).map(own).collect())
}

/// See [`crate::Ledger::look`].
pub(super) async fn look(
    inner: &Inner,
    campaign: CampaignNo,
    users: &[UserId],
) -> Result<Vec<Vec<Win>>, Fail> {
    // Once through the lock: what was being committed is committed, or never will be.
    inner.writer.begin().await?.rollback().await?;
    wins::of_users(inner, campaign, users).await
}
