//! The fence of a claim: its slot's rows, locked from before it decides until it ends.
//!
//! Locks and states come with BEGIN, and the booking goes with COMMIT, each in one round trip, so
//! that a batch takes three: that is what a bare insert takes too.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    ops::Range,
    time::{Duration, Instant},
};

use rules::Timestamp;

use super::{
    fault::{CommitFault, Fail},
    open::Inner,
    sql::{Answer, Tx},
    value::Row,
};
use crate::{
    CampaignNo, LedgerError,
    claiming::{Booked, Spoilt, State},
    codec,
};

/// A slot's rows under their locks.
pub(super) struct Fence {
    slot: u8,
    /// How many claims the slot has of each campaign.
    claims: BTreeMap<CampaignNo, i64>,
}

/// What a claim must know of each campaign.
pub(super) type States = BTreeMap<CampaignNo, State>;

/// Begins a transaction that has locked the slot's row of each campaign, in their order, and
/// reads what a claim must know of them; campaigns whose state cannot be are added to `spoilt`.
pub(super) async fn begin(
    inner: &Inner,
    slot: u8,
    campaigns: BTreeSet<CampaignNo>,
    spoilt: &mut Spoilt,
    deadline: Instant,
) -> Result<(Tx, Fence, States), Fail> {
    let script = match campaigns.is_empty() {
        true => String::new(),
        false => inner.dialect().rewrite(&locks_and_states(slot, &campaigns)),
    };
    let (tx, answers) = inner.begin_with(&script, deadline).await?;
    let mut fence = Fence {
        slot,
        claims: BTreeMap::new(),
    };
    let [locked, sums, heads] = &answers[..] else {
        return Ok((tx, fence, States::new()));
    };
    let mut closed = BTreeMap::new();
    for row in &locked.rows {
        let campaign = CampaignNo(row.int(0)?);
        closed.insert(campaign, row.flag(1)?);
        fence.claims.insert(campaign, row.int(2)?);
    }
    let states = states(&closed, sums, heads, spoilt)?;
    Ok((tx, fence, states))
}

/// First the locks, then the sums, then the campaigns, each a statement that sees what was
/// committed before it began: read at once with the locks, PostgreSQL would show the rest as it
/// was before the wait for them. And a top-up between the last two can only add to what there
/// is to give.
fn locks_and_states(slot: u8, campaigns: &BTreeSet<CampaignNo>) -> String {
    let numbers: Vec<_> = campaigns.iter().map(|no| no.0.to_string()).collect();
    let numbers = numbers.join(",");
    format!(
        "SELECT campaign_no, closed, claims FROM fence {{BY PRIMARY}} \
         WHERE slot = {slot} AND campaign_no IN ({numbers}) ORDER BY campaign_no FOR UPDATE;\
         SELECT campaign_no, CAST(sum(claims) AS {{INT}}), CAST(sum(amount) AS {{INT}}), \
         max(last_at) FROM fence {{BY PRIMARY}} WHERE campaign_no IN ({numbers}) \
         GROUP BY campaign_no;\
         SELECT no, CASE WHEN halted IS NULL THEN 0 ELSE 1 END, openings, packets, budget \
         FROM campaigns WHERE no IN ({numbers})"
    )
}

fn states(
    closed: &BTreeMap<CampaignNo, bool>,
    sums: &Answer,
    heads: &Answer,
    spoilt: &mut Spoilt,
) -> Result<States, Fail> {
    let mut sums_of = BTreeMap::new();
    for row in &sums.rows {
        sums_of.insert(CampaignNo(row.int(0)?), row);
    }
    let mut states = States::new();
    for head in &heads.rows {
        let campaign = CampaignNo(head.int(0)?);
        let (Some(closed), Some(sums)) = (closed.get(&campaign), sums_of.get(&campaign)) else {
            continue;
        };
        match state(*closed, sums, head) {
            Ok(state) => drop(states.insert(campaign, state)),
            Err(Fail::Ledger(LedgerError::Corrupt(why))) => drop(spoilt.insert(campaign, why)),
            Err(fail) => return Err(fail),
        }
    }
    Ok(states)
}

fn state(closed: bool, sums: &Row, head: &Row) -> Result<State, Fail> {
    Ok(State {
        closed,
        halted: head.flag(1)?,
        openings: codec::small(head.int(2)?, "a campaign's openings")?,
        packets: codec::count(head.int(3)?)?,
        budget: codec::amount(head.int(4)?)?,
        claims: codec::count(sums.int(1)?)?,
        claimed: codec::amount(sums.int(2)?)?,
        last_at: Timestamp::from_micros(sums.int(3)?),
    })
}

impl Fence {
    /// The slot.
    pub(super) fn slot(&self) -> u8 {
        self.slot
    }

    /// What every claim of this batch is numbered with: the slot's claims before it, and one.
    /// Any claim that was there before has a lower number.
    pub(super) fn number(&self, campaign: CampaignNo) -> i64 {
        self.claims[&campaign] + 1
    }

    /// A statement, and no value in it but numbers, that counts the claims of this batch.
    pub(super) fn counting(&self) -> String {
        let slot = self.slot;
        let one = |(campaign, before): (&CampaignNo, &i64)| {
            format!(
                "(SELECT count(*) FROM claims {{BY claims_by_slot}} WHERE campaign_no = {} \
                 AND slot = {slot} AND slot_seq > {before})",
                campaign.0
            )
        };
        let each: Vec<_> = self.claims.iter().map(one).collect();
        format!("SELECT {}", each.join(" + "))
    }

    /// How many claims of each campaign the slot had before, and has with these.
    pub(super) fn taken_by(
        &self,
        books: &BTreeMap<CampaignNo, Booked>,
    ) -> Vec<(CampaignNo, Range<u64>)> {
        let one = |(campaign, booked): (&CampaignNo, &Booked)| {
            let before = self.claims[campaign].cast_unsigned();
            (*campaign, before..before + booked.claims)
        };
        books.iter().map(one).collect()
    }

    /// What is to be added to the slot's rows; `None` when it is nothing.
    pub(super) fn booking(
        &self,
        books: &BTreeMap<CampaignNo, Booked>,
        claimed_at: Timestamp,
    ) -> Result<Option<Booking>, Fail> {
        let mut script = String::new();
        for (campaign, booked) in books {
            let (claims, amount) = (
                codec::to_column(booked.claims)?,
                codec::amount_to_column(booked.amount),
            );
            write!(
                script,
                "UPDATE fence SET claims = claims + {claims}, amount = amount + {amount}, \
                 last_at = {} WHERE campaign_no = {} AND slot = {} AND closed = 0; ",
                claimed_at.micros(),
                campaign.0,
                self.slot
            )
            .expect("a String takes all that is written");
        }
        let rows = books.len() as u64;
        Ok((rows > 0).then_some(Booking { script, rows }))
    }
}

/// The last statements of a batch.
pub(super) struct Booking {
    script: String,
    /// Rows that it changes, all of which are locked.
    rows: u64,
}

impl Booking {
    /// Books and commits in one round trip.
    pub(super) async fn commit(self, tx: Tx, timeout: Duration) -> Result<(), CommitFault> {
        let touched = tx.commit_after(&self.script, timeout).await?;
        // They were there and open when they were locked, and nobody else could change them.
        assert_eq!(touched, self.rows, "locked rows of the fence are booked");
        Ok(())
    }
}
