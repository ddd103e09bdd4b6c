//! Claiming: the hot path. One transaction per batch; see "Claiming" in the design.

use std::collections::BTreeMap;

use rules::{Fen, Timestamp, UserId};
use sqlx::{Row as _, SqliteConnection};

use super::{
    fault::Fail,
    insert::{Inserted, Row, insert},
    open::Inner,
    standing::{self, Keys},
    wins,
    write::{CommitFault, Write},
};
use crate::{
    CampaignNo, ClaimAsk, ClaimError, ClaimResult, LedgerError, Win, codec,
    codec::corrupt,
    conflict::{Verdict, resolve},
};

/// Under the lock, an ask older than this is dropped: its user was answered long ago.
const ASK_AGE_MAX_MICROS: i64 = 3_000_000;

/// What a claim must know of its campaign, read under the lock.
struct State {
    closed: bool,
    halted: bool,
    openings: u32,
    packets: u64,
    budget: Fen,
    /// Claims and their sum so far, over all slots.
    claims: u64,
    claimed: Fen,
    /// The time of the latest claim, over all slots.
    last_at: Timestamp,
}

/// An ask that is not decided yet.
struct Open<'a> {
    ask: &'a ClaimAsk,
    place: usize,
    period: i64,
}

/// A batch in work.
struct Batch<'a> {
    claimed_at: Timestamp,
    states: BTreeMap<CampaignNo, State>,
    results: Vec<Option<ClaimResult>>,
    open: Vec<Open<'a>>,
    /// Rows that the inserts reported.
    inserted: u64,
}

/// See [`crate::Ledger::claim`].
pub(super) async fn claim(
    inner: &Inner,
    slot: u8,
    asks: &[ClaimAsk],
) -> Result<Vec<ClaimResult>, ClaimError> {
    assert!(slot < super::campaigns::SLOTS, "a fence has 16 slots");
    let not_done = |fail| ClaimError::NotDone(inner.writer.judge(fail));
    if asks.is_empty() {
        return Ok(Vec::new());
    }
    let mut write = inner.writer.begin().await.map_err(not_done)?;
    let (results, won) = match decide(inner, &mut write, slot, asks).await {
        Ok(decided) => decided,
        Err(fail) => return Err(not_done(fail)),
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

/// Whether the books certainly do not hold a batch whose commit was rolled back.
async fn absent(inner: &Inner, asks: &[ClaimAsk], results: &[ClaimResult]) -> bool {
    let won = |(_, result): &(_, &ClaimResult)| matches!(result, ClaimResult::Won(_));
    // All of a transaction is there, or nothing: one row tells.
    let Some((ask, _)) = asks.iter().zip(results).find(won) else {
        return true;
    };
    matches!(settle(inner, std::slice::from_ref(ask)).await, Ok(wins) if wins == [None])
}

/// Everything between BEGIN and COMMIT: the results, and how many of them are new wins.
async fn decide(
    inner: &Inner,
    write: &mut Write<'_>,
    slot: u8,
    asks: &[ClaimAsk],
) -> Result<(Vec<ClaimResult>, u64), Fail> {
    let conn = write.conn();
    // Once per batch, under the lock, and after every claim that was committed: a claim of this
    // time is a claim of this batch, whatever the clock does.
    let mut claimed_at = inner.now();
    let mut states = BTreeMap::new();
    for ask in asks {
        if !states.contains_key(&ask.campaign)
            && let Some(state) = state(conn, ask.campaign, slot).await?
        {
            claimed_at = claimed_at.max(state.last_at.plus_micros(1));
            states.insert(ask.campaign, state);
        }
    }
    let mut batch = Batch::admit(claimed_at, states, asks);
    while !batch.open.is_empty() {
        batch.round(conn).await?;
    }
    batch.book(conn, slot, asks).await?;
    let results: Option<Vec<_>> = batch.results.into_iter().collect();
    let results = results.expect("the rounds end when every ask has its result");
    let won = results.iter().filter(|r| matches!(r, ClaimResult::Won(_)));
    let won = won.count() as u64;
    Ok((results, won))
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

impl<'a> Batch<'a> {
    /// Decides what needs no look at the claims: closed, halted, too late.
    fn admit(
        claimed_at: Timestamp,
        states: BTreeMap<CampaignNo, State>,
        asks: &'a [ClaimAsk],
    ) -> Self {
        let mut results = vec![None; asks.len()];
        let mut open = Vec::with_capacity(asks.len());
        for (place, ask) in asks.iter().enumerate() {
            let refused = match states.get(&ask.campaign) {
                None => Some(ClaimResult::Failed),
                Some(state) if state.closed => Some(ClaimResult::Closed),
                Some(state) if state.halted => Some(ClaimResult::Halted),
                Some(_) if claimed_at.since(ask.asked_at) > ASK_AGE_MAX_MICROS => {
                    Some(ClaimResult::TooLate)
                }
                Some(state) => {
                    let limit = ask.win_limit;
                    let period = limit.period(claimed_at, ask.starts_at, state.openings);
                    open.push(Open { ask, place, period });
                    None
                }
            };
            results[place] = refused;
        }
        // The order of the keys, so that transactions on other databases take their locks in
        // one order; and the asks of one user side by side.
        open.sort_by(|a, b| user_of(a).cmp(&user_of(b)).then(a.place.cmp(&b.place)));
        Self {
            claimed_at,
            states,
            results,
            open,
            inserted: 0,
        }
    }

    /// One ask of each user: its ordinal is chosen, it is inserted, and what was not inserted
    /// is read back and decided. Further asks of the same user wait for the next round.
    async fn round(&mut self, conn: &mut SqliteConnection) -> Result<(), Fail> {
        let mut this_round = Vec::with_capacity(self.open.len());
        let mut later = Vec::new();
        for open in self.open.drain(..) {
            match this_round.last() {
                Some(last) if user_of(last) == user_of(&open) => later.push(open),
                _ => this_round.push(open),
            }
        }
        self.open = later;
        let rows = self.choose_ordinals(conn, this_round).await?;
        let inserted = insert(conn, &rows).await?;
        self.inserted += inserted.rows;
        if inserted.rows == rows.len() as u64 {
            // As many as were sent: all of them, and none of another.
            assert!(inserted.refused.is_empty(), "a refused row is not inserted");
            for row in &rows {
                self.results[row.place] = Some(ClaimResult::Won(win_of(row)));
            }
            return Ok(());
        }
        self.read_back(conn, &rows, &inserted).await
    }

    /// Where a user can win once, the ordinal is 1 and the keys decide. Where several wins are
    /// possible, the lowest free one; taps that have won and users at their limit end here.
    async fn choose_ordinals(
        &mut self,
        conn: &mut SqliteConnection,
        open: Vec<Open<'a>>,
    ) -> Result<Vec<Row<'a>>, Fail> {
        let several: Vec<_> = open
            .iter()
            .filter(|o| o.ask.win_limit.several())
            .map(|o| (o.ask, o.period))
            .collect();
        let mut standings = if several.is_empty() {
            Vec::new()
        } else {
            standing::read(conn, &several, Keys::User).await?
        }
        .into_iter();
        let mut rows = Vec::with_capacity(open.len());
        for Open { ask, place, period } in open {
            let mut ordinal = 1;
            if ask.win_limit.several() {
                let standing = standings.next().expect("one standing for each such ask");
                match resolve(ask, &standing) {
                    Verdict::Insert(free) => ordinal = free,
                    Verdict::Settled(result) => {
                        self.results[place] = Some(result);
                        continue;
                    }
                }
            }
            rows.push(Row {
                ask,
                place,
                claimed_at: self.claimed_at,
                period,
                ordinal,
            });
        }
        Ok(rows)
    }

    /// Decides each row from what stands under its keys.
    async fn read_back(
        &mut self,
        conn: &mut SqliteConnection,
        rows: &[Row<'a>],
        inserted: &Inserted,
    ) -> Result<(), Fail> {
        let asks: Vec<_> = rows.iter().map(|row| (row.ask, row.period)).collect();
        let standings = standing::read(conn, &asks, Keys::All).await?;
        for (n, (row, standing)) in rows.iter().zip(&standings).enumerate() {
            let verdict = resolve(row.ask, standing);
            self.results[row.place] = Some(match verdict {
                Verdict::Settled(result) => result,
                Verdict::Insert(_) if inserted.refused.contains(&n) => ClaimResult::Failed,
                Verdict::Insert(_) => {
                    // No writer but this one: a row that is not there, and that nothing stands
                    // in the way of, cannot be.
                    let packet = row.ask.packet;
                    return Err(corrupt(format!("packet {packet} cannot be claimed")).into());
                }
            });
        }
        Ok(())
    }

    /// Adds the new wins to the fence, having checked that the campaign can bear them.
    async fn book(
        &self,
        conn: &mut SqliteConnection,
        slot: u8,
        asks: &[ClaimAsk],
    ) -> Result<(), Fail> {
        let mut new: BTreeMap<CampaignNo, (u64, Fen)> = BTreeMap::new();
        for (ask, result) in asks.iter().zip(&self.results) {
            // A row that was there before has an earlier time; it is booked already.
            let Some(ClaimResult::Won(win)) = result else {
                continue;
            };
            if win.claimed_at == self.claimed_at {
                let (count, sum) = new.entry(ask.campaign).or_default();
                *count += 1;
                *sum = sum
                    .checked_add(win.amount)
                    .ok_or_else(|| corrupt(format!("the claims of {:?} overflow", ask.campaign)))?;
            }
        }
        let counted: u64 = new.values().map(|(count, _)| count).sum();
        assert_eq!(
            counted, self.inserted,
            "what is booked is what was inserted"
        );
        for (campaign, (count, sum)) in new {
            self.states[&campaign].bears(campaign, count, sum)?;
            let booked = sqlx::query(
                "UPDATE fence SET claims = claims + ?, amount = amount + ?, last_at = ? \
                 WHERE campaign_no = ? AND slot = ? AND closed = 0",
            )
            .bind(codec::to_column(count)?)
            .bind(codec::amount_to_column(sum))
            .bind(self.claimed_at.micros())
            .bind(campaign.0)
            .bind(i64::from(slot))
            .execute(&mut *conn)
            .await?;
            assert_eq!(
                booked.rows_affected(),
                1,
                "the slot was open under this lock"
            );
        }
        Ok(())
    }
}

impl State {
    /// Refuses what would give out more packets or more money than the campaign has.
    fn bears(&self, campaign: CampaignNo, count: u64, sum: Fen) -> Result<(), LedgerError> {
        let sum = self.claimed.checked_add(sum);
        if self.claims + count <= self.packets && sum.is_some_and(|sum| sum <= self.budget) {
            return Ok(());
        }
        Err(corrupt(format!(
            "campaign {} would give out more than it has: nothing was written",
            campaign.0
        )))
    }
}

fn user_of<'a>(open: &Open<'a>) -> (CampaignNo, &'a UserId) {
    (open.ask.campaign, &open.ask.user)
}

fn win_of(row: &Row<'_>) -> Win {
    let ask = row.ask;
    Win {
        packet: ask.packet,
        amount: ask.amount,
        tier: ask.tier,
        claimed_at: row.claimed_at,
        period: row.period,
        ordinal: row.ordinal,
        grab_id: ask.grab_id.filter(|_| ask.win_limit.several()),
    }
}

/// See [`crate::Ledger::settle`]. The write lock is every slot's lock.
pub(super) async fn settle(inner: &Inner, asks: &[ClaimAsk]) -> Result<Vec<Option<Win>>, Fail> {
    let mut write = inner.writer.begin().await?;
    let asks: Vec<_> = asks.iter().map(|ask| (ask, 0)).collect();
    let standings = standing::read(write.conn(), &asks, Keys::All).await?;
    write.rollback().await?;
    let own = |(standing, (ask, _)): (crate::conflict::Standing, &(&ClaimAsk, i64))| {
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
