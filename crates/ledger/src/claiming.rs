//! A batch of claims in work: every decision of the hot path, purely; each database only reads,
//! inserts and books what is decided here.
//!
//! A batch goes through rounds. In each, one ask of each user is chosen ([`Batch::next_round`]),
//! gets its ordinal ([`Batch::ordinals`]), and is inserted; what was not inserted is read back
//! and judged ([`Batch::judge`]). In the end the new wins are summed ([`Batch::books`]).

use std::collections::{BTreeMap, BTreeSet};

use rules::{Fen, PacketId, Timestamp, UserId};

use crate::{
    CampaignNo, ClaimAsk, ClaimResult, Win,
    conflict::{Standing, Verdict, resolve},
};

/// Under the lock, an ask older than this is dropped: its user was answered long ago.
const ASK_AGE_MAX_MICROS: i64 = 3_000_000;

/// An ask that is inserted so often without being there, and without anything in its way, fails.
/// Other writers can come between an insert and its reading back, each with a win of the same
/// user: as many as there are slots may do so several times, but not for ever.
const TRIES_MAX: u32 = 64;

/// What a claim must know of its campaign, read under the lock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct State {
    pub(crate) closed: bool,
    pub(crate) halted: bool,
    pub(crate) openings: u32,
    pub(crate) packets: u64,
    pub(crate) budget: Fen,
    /// Claims and their sum so far, over all slots.
    pub(crate) claims: u64,
    pub(crate) claimed: Fen,
    /// The time of the latest claim, over all slots.
    pub(crate) last_at: Timestamp,
}

/// Campaigns whose books cannot be right, and why. Their asks fail, and they are to be halted;
/// the others of a batch go on without them.
pub(crate) type Spoilt = BTreeMap<CampaignNo, String>;

/// An ask that is not decided yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Open<'a> {
    pub(crate) ask: &'a ClaimAsk,
    /// Its place in the batch.
    place: usize,
    pub(crate) period: i64,
    tries: u32,
}

/// One claim to be written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewClaim<'a> {
    pub(crate) ask: &'a ClaimAsk,
    pub(crate) claimed_at: Timestamp,
    pub(crate) period: i64,
    pub(crate) ordinal: u32,
    place: usize,
    tries: u32,
}

/// What is added to the fence for one campaign.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Booked {
    pub(crate) claims: u64,
    pub(crate) amount: Fen,
}

/// A batch in work.
pub(crate) struct Batch<'a> {
    /// Once per batch, under the lock, and after every claim that was committed: a claim of this
    /// time is a claim of this batch, whatever the clock does.
    pub(crate) claimed_at: Timestamp,
    states: BTreeMap<CampaignNo, State>,
    results: Vec<Option<ClaimResult>>,
    open: Vec<Open<'a>>,
}

impl<'a> Batch<'a> {
    /// Decides what needs no look at the claims: closed, halted, too late. A campaign without a
    /// state is unknown or spoilt.
    pub(crate) fn admit(
        now: Timestamp,
        states: BTreeMap<CampaignNo, State>,
        asks: &'a [ClaimAsk],
    ) -> Self {
        let after_the_last = states.values().map(|state| state.last_at.plus_micros(1));
        let claimed_at = after_the_last.fold(now, Timestamp::max);
        let mut results = vec![None; asks.len()];
        let mut open = Vec::with_capacity(asks.len());
        for (place, ask) in asks.iter().enumerate() {
            let refused = match states.get(&ask.campaign) {
                None => Some(ClaimResult::Failed),
                Some(state) if state.closed => Some(ClaimResult::Closed),
                Some(state) if state.halted => Some(ClaimResult::Halted),
                // By this node's clock, as the ask was: another's may be ahead.
                Some(_) if now.since(ask.asked_at) > ASK_AGE_MAX_MICROS => {
                    Some(ClaimResult::TooLate)
                }
                Some(state) => {
                    let limit = ask.win_limit;
                    let period = limit.period(claimed_at, ask.starts_at, state.openings);
                    open.push(Open {
                        ask,
                        place,
                        period,
                        tries: 0,
                    });
                    None
                }
            };
            results[place] = refused;
        }
        let mut batch = Self {
            claimed_at,
            states,
            results,
            open,
        };
        batch.sort();
        batch
    }

    /// The order of the keys, so that transactions take their locks in one order; and the asks
    /// of one user side by side.
    fn sort(&mut self) {
        self.open
            .sort_by(|a, b| user_of(a).cmp(&user_of(b)).then(a.place.cmp(&b.place)));
    }

    /// One undecided ask of each user; further asks of the same user wait for the next round.
    /// Empty when all is decided.
    pub(crate) fn next_round(&mut self) -> Vec<Open<'a>> {
        let mut this_round: Vec<Open<'a>> = Vec::with_capacity(self.open.len());
        let mut later = Vec::new();
        for open in self.open.drain(..) {
            match this_round.last() {
                Some(last) if user_of(last) == user_of(&open) => later.push(open),
                _ => this_round.push(open),
            }
        }
        self.open = later;
        this_round
    }

    /// Where a user can win once, the ordinal is 1 and the keys decide. Where several wins are
    /// possible, the lowest free one; taps that have won and users at their limit end here.
    /// `standings` are those of [`several`], by the keys of the user.
    pub(crate) fn ordinals(
        &mut self,
        round: Vec<Open<'a>>,
        standings: Vec<Standing>,
    ) -> Vec<NewClaim<'a>> {
        let mut standings = standings.into_iter();
        let mut rows = Vec::with_capacity(round.len());
        for open in round {
            let mut ordinal = 1;
            if open.ask.win_limit.several() {
                let standing = standings.next().expect("one standing for each such ask");
                match resolve(open.ask, &standing) {
                    Verdict::Insert(free) => ordinal = free,
                    Verdict::Settled(result) => {
                        self.results[open.place] = Some(result);
                        continue;
                    }
                }
            }
            rows.push(NewClaim {
                ask: open.ask,
                claimed_at: self.claimed_at,
                period: open.period,
                ordinal,
                place: open.place,
                tries: open.tries + 1,
            });
        }
        rows
    }

    /// Every row was inserted, and so is won.
    pub(crate) fn all_won(&mut self, rows: &[NewClaim<'a>]) {
        for row in rows {
            self.results[row.place] = Some(ClaimResult::Won(row.win()));
        }
    }

    /// Decides each row from what stands under its keys. `refused` are the places within `rows`
    /// of those that the database refuses, for what is in them or because another transaction holds
    /// them.
    pub(crate) fn judge(
        &mut self,
        rows: &[NewClaim<'a>],
        standings: &[Standing],
        refused: &[usize],
    ) {
        for (n, (row, standing)) in rows.iter().zip(standings).enumerate() {
            let result = match resolve(row.ask, standing) {
                Verdict::Settled(result) => result,
                Verdict::Insert(_) if refused.contains(&n) => ClaimResult::Failed,
                // Another writer was in the way and has made room, or has left another ordinal.
                Verdict::Insert(_) if row.tries < TRIES_MAX => {
                    self.open.push(row.once_more());
                    continue;
                }
                Verdict::Insert(_) => {
                    let packet = row.ask.packet;
                    tracing::error!(%packet, "a packet that nobody has cannot be claimed");
                    ClaimResult::Failed
                }
            };
            self.results[row.place] = Some(result);
        }
        self.sort();
    }

    /// What to add to the fence, by campaign.
    ///
    /// # Errors
    /// The campaigns that would give out more than they have. Nothing may be written for them.
    pub(crate) fn books(&self, asks: &[ClaimAsk]) -> Result<BTreeMap<CampaignNo, Booked>, Spoilt> {
        let (mut books, mut spoilt) = (BTreeMap::<_, Booked>::new(), Spoilt::new());
        for (campaign, packet, amount) in self.new_wins(asks) {
            let booked = books.entry(campaign).or_default();
            booked.claims += 1;
            match booked.amount.checked_add(amount) {
                Some(sum) => booked.amount = sum,
                None => {
                    spoilt.insert(campaign, format!("the amount of packet {packet} overflows"));
                }
            }
        }
        for (campaign, booked) in &books {
            if !self.states[campaign].bears(*booked) {
                let reason = "its claims would give out more than it has";
                spoilt.insert(*campaign, reason.into());
            }
        }
        if spoilt.is_empty() {
            Ok(books)
        } else {
            Err(spoilt)
        }
    }

    /// The wins that are new with this batch, each once. A row that was there before has an
    /// earlier time; it is booked already.
    fn new_wins(&self, asks: &[ClaimAsk]) -> BTreeSet<(CampaignNo, PacketId, Fen)> {
        let decided = asks.iter().zip(&self.results);
        decided
            .filter_map(|(ask, result)| match result {
                Some(ClaimResult::Won(win)) if win.claimed_at == self.claimed_at => {
                    Some((ask.campaign, win.packet, win.amount))
                }
                _ => None,
            })
            .collect()
    }

    /// The results in the order of the asks.
    pub(crate) fn results(self) -> Vec<ClaimResult> {
        let results: Option<Vec<_>> = self.results.into_iter().collect();
        results.expect("the rounds end when every ask has its result")
    }
}

/// The asks of a round whose users can win more than once, with their periods: their ordinals
/// depend on what stands under their keys.
pub(crate) fn several<'a>(round: &[Open<'a>]) -> Vec<(&'a ClaimAsk, i64)> {
    let several = round.iter().filter(|open| open.ask.win_limit.several());
    several.map(|open| (open.ask, open.period)).collect()
}

impl State {
    /// Whether the campaign has as many packets, and as much money, as this takes.
    fn bears(&self, new: Booked) -> bool {
        let sum = self.claimed.checked_add(new.amount);
        self.claims + new.claims <= self.packets && sum.is_some_and(|sum| sum <= self.budget)
    }
}

impl<'a> NewClaim<'a> {
    /// The tap's id where it is kept.
    pub(crate) fn grab_id(&self) -> Option<rules::GrabId> {
        self.ask.grab_id.filter(|_| self.ask.win_limit.several())
    }

    fn win(&self) -> Win {
        Win {
            packet: self.ask.packet,
            amount: self.ask.amount,
            tier: self.ask.tier,
            claimed_at: self.claimed_at,
            period: self.period,
            ordinal: self.ordinal,
            grab_id: self.grab_id(),
        }
    }

    fn once_more(&self) -> Open<'a> {
        Open {
            ask: self.ask,
            place: self.place,
            period: self.period,
            tries: self.tries,
        }
    }
}

fn user_of<'a>(open: &Open<'a>) -> (CampaignNo, &'a UserId) {
    (open.ask.campaign, &open.ask.user)
}
