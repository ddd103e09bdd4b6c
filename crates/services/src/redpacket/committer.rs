//! The group commit: whatever claims wait go into one transaction, and their replies wait for
//! the commit.
//!
//! The committer, not the request, finishes a claim: a client that goes away in mid-commit
//! leaves no packet and no user behind in flight.

use std::{net::IpAddr, sync::Arc, time::Duration};

use ledger::{ClaimAsk, ClaimError, ClaimResult, Ledger, Win};
use rules::{GrabId, UserId};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};

use super::{
    courier::{Reply, Round},
    rain::Rain,
    stock::HeldPacket,
};
use crate::account::asking::{Admission, Attempt};

/// The most claims in one transaction.
const BATCH_MAX: usize = 1_024;
/// The most claims that may wait for their transaction; more are answered 503.
const WAITING_MAX: usize = 16_384;
/// Where commits are worth saving: so many claims are enough for one, ...
const GATHERED_ENOUGH: usize = 64;
/// ... nothing more is waited for so long after the last commit began, ...
const GATHER_WITHIN: Duration = Duration::from_millis(40);
/// ... nor when no claim has come for so long.
const GATHER_UNTIL_QUIET: Duration = Duration::from_millis(10);
/// How long to wait before asking again what became of a commit; doubles up to 16 times this.
const SETTLE_EVERY: Duration = Duration::from_millis(100);

/// A claim on its way to the ledger.
pub(crate) struct Claim {
    /// What is asked of the ledger.
    pub(crate) ask: ClaimAsk,
    /// The campaign on this node.
    pub(crate) rain: Arc<Rain>,
    /// The packet, taken out of the stock.
    pub(crate) packet: HeldPacket,
    /// The tap, for the account's window; the ask has it only where the ledger keeps it.
    pub(crate) tap: Option<GrabId>,
    /// Where the tap came from, for the account too.
    pub(crate) ip: IpAddr,
    /// Where the result goes, if anybody still waits for it.
    pub(crate) reply: Reply,
}

impl Claim {
    /// The attempt as the account service knows it.
    pub(crate) fn attempt(&self) -> Attempt {
        Attempt {
            user: self.ask.user.clone(),
            grab_id: self.tap,
            ip: self.ip,
        }
    }
}

/// What became of a claim, as the grab needs it.
#[derive(Debug)]
pub(crate) enum Claimed {
    /// Durable, and new.
    Won(Win),
    /// The user had won this before.
    Repeated(Win),
    /// The wins of the period are used up.
    LimitReached,
    /// Somebody else has the packet; another may be free.
    PacketTaken,
    /// The campaign has ended.
    Ended,
    /// Undecided or not done; asking again is safe.
    Unavailable,
}

/// The way to the committer. Cheap to clone; the committer ends when the last one is dropped.
#[derive(Clone)]
pub(crate) struct Claims(mpsc::Sender<Claim>);

impl Claims {
    /// Hands a claim over; given back when too many wait.
    pub(crate) fn submit(&self, claim: Claim) -> Result<(), Box<Claim>> {
        self.0
            .try_send(claim)
            .map_err(|refused| Box::new(refused.into_inner()))
    }
}

/// Turns waiting claims into transactions, one at a time.
pub(crate) struct Committer {
    ledger: Arc<dyn Ledger>,
    admission: Admission,
    /// The fence slot of this node.
    slot: u8,
    /// Whether claims wait for others to share their transaction.
    gathers: bool,
    waiting: mpsc::Receiver<Claim>,
}

impl Committer {
    pub(crate) fn new(
        ledger: Arc<dyn Ledger>,
        admission: Admission,
        slot: u8,
        gathers: bool,
    ) -> (Claims, Self) {
        metrics::gauge!("hongbao_undecided_claims").set(0.0);
        let (claims, waiting) = mpsc::channel(WAITING_MAX);
        (
            Claims(claims),
            Self {
                ledger,
                admission,
                slot,
                gathers,
                waiting,
            },
        )
    }

    /// Commits until every [`Claims`] is gone and nothing waits.
    pub(crate) async fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        let mut last_began = None;
        while self.waiting.recv_many(&mut batch, BATCH_MAX).await > 0 {
            if let (true, Some(last_began)) = (self.gathers, last_began) {
                self.gather(&mut batch, last_began + GATHER_WITHIN).await;
            }
            last_began = Some(Instant::now());
            self.commit(std::mem::take(&mut batch)).await;
        }
    }

    /// Waits for more claims while they come in quick succession: a database server that several
    /// replicas share does better with few large transactions. A claim that comes alone, after a
    /// pause, does not wait.
    async fn gather(&mut self, batch: &mut Vec<Claim>, until: Instant) {
        while batch.len() < GATHERED_ENOUGH {
            let until = until.min(Instant::now() + GATHER_UNTIL_QUIET);
            let more = self.waiting.recv_many(batch, BATCH_MAX);
            match timeout_at(until, more).await {
                Ok(came) if came > 0 => {}
                Ok(_none_will_come) => return,
                Err(_in_time) => return,
            }
        }
    }

    async fn commit(&self, batch: Vec<Claim>) {
        let asks: Vec<ClaimAsk> = batch.iter().map(|claim| claim.ask.clone()).collect();
        metrics::histogram!("hongbao_claim_batch_size").record(asks.len() as f64);
        let began = Instant::now();
        let claimed = self.ledger.claim(self.slot, &asks).await;
        metrics::histogram!("hongbao_claim_commit_seconds").record(began.elapsed());
        match claimed {
            Ok(claimed) => {
                let results = claimed.results;
                assert_eq!(results.len(), batch.len(), "one result for each ask");
                let took: Vec<_> = claimed
                    .took
                    .into_iter()
                    .filter_map(|(campaign, places)| {
                        let claim = batch.iter().find(|claim| claim.ask.campaign == campaign)?;
                        Some((claim.rain.clone(), places))
                    })
                    .collect();
                let mut round = Round::default();
                for (claim, result) in batch.into_iter().zip(results) {
                    self.finish(claim, result, &mut round);
                }
                round.bring();
                // Now that each is recorded.
                for (rain, places) in took {
                    rain.followed.took(self.slot, places);
                }
            }
            Err(ClaimError::NotDone(error)) => {
                tracing::warn!(claims = batch.len(), %error, "a batch of claims was not done");
                let mut round = Round::default();
                for claim in batch {
                    self.not_done(claim, &mut round);
                }
                round.bring();
            }
            Err(ClaimError::InDoubt(cause)) => {
                tracing::error!(claims = batch.len(), %cause, "a batch of claims is in doubt");
                self.settle_later(batch, asks);
            }
        }
    }

    fn finish(&self, claim: Claim, result: ClaimResult, round: &mut Round) {
        let several_at_once = claim.ask.win_limit.count > 1;
        let claimed = match result {
            ClaimResult::Won(win) => {
                assert_eq!(
                    win.packet, claim.ask.packet,
                    "the claim wrote the packet it asked for"
                );
                assert_eq!(
                    win.amount, claim.ask.amount,
                    "the claim wrote the packet's amount"
                );
                record(&*self.ledger, &claim.rain, &claim.ask.user, &win);
                claim.rain.stock.claimed(&claim.packet);
                Claimed::Won(win)
            }
            ClaimResult::SameGrab(win) => {
                record(&*self.ledger, &claim.rain, &claim.ask.user, &win);
                claim.rain.stock.put_back(&claim.packet);
                Claimed::Repeated(win)
            }
            ClaimResult::AtLimit(win) => {
                record(&*self.ledger, &claim.rain, &claim.ask.user, &win);
                claim.rain.stock.put_back(&claim.packet);
                if several_at_once {
                    Claimed::LimitReached
                } else {
                    Claimed::Repeated(win)
                }
            }
            ClaimResult::PacketTaken => {
                claim.rain.stock.claimed(&claim.packet);
                if claim.reply.is_closed() {
                    // The grab has answered 503 and will not take another packet.
                    self.admission.withdraw(claim.rain.id, claim.attempt());
                }
                Claimed::PacketTaken
            }
            ClaimResult::Closed => {
                claim.rain.stock.put_back(&claim.packet);
                Claimed::Ended
            }
            ClaimResult::Halted | ClaimResult::TooLate | ClaimResult::Failed => {
                return self.not_done(claim, round);
            }
        };
        // Last, so that whoever waits for the claim's end finds the win recorded.
        claim.rain.winners.end(&claim.ask.user);
        round.add(claim.reply, claimed);
    }

    /// Nothing was written: the packet is free, and the attempt is not used up.
    fn not_done(&self, claim: Claim, round: &mut Round) {
        metrics::counter!("hongbao_claims_not_done_total").increment(1);
        claim.rain.stock.put_back(&claim.packet);
        self.admission.withdraw(claim.rain.id, claim.attempt());
        claim.rain.winners.end(&claim.ask.user);
        round.add(claim.reply, Claimed::Unavailable);
    }

    /// Asks the ledger until it says what became of the batch. Until then the packets and the
    /// users stay in flight; whoever asks is told to ask again.
    fn settle_later(&self, batch: Vec<Claim>, asks: Vec<ClaimAsk>) {
        let (ledger, slot) = (self.ledger.clone(), self.slot);
        let in_doubt = metrics::gauge!("hongbao_undecided_claims");
        in_doubt.increment(batch.len() as f64);
        metrics::counter!("hongbao_claims_in_doubt_total").increment(batch.len() as u64);
        let mut undecided = Vec::with_capacity(batch.len());
        let mut round = Round::default();
        for claim in batch {
            self.admission.withdraw(claim.rain.id, claim.attempt());
            undecided.push((claim.rain, claim.ask.user, claim.packet));
            round.add(claim.reply, Claimed::Unavailable);
        }
        round.bring();
        crate::task::critical("settling", async move {
            let mut pause = SETTLE_EVERY;
            let wins = loop {
                match ledger.settle(slot, &asks).await {
                    Ok(wins) => break wins,
                    Err(error) => {
                        tracing::warn!(%error, claims = asks.len(), "claims are still in doubt");
                    }
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(SETTLE_EVERY * 16);
            };
            assert_eq!(
                wins.len(),
                undecided.len(),
                "one verdict for each claim in doubt"
            );
            for ((rain, user, packet), win) in undecided.into_iter().zip(wins) {
                match win {
                    Some(win) => {
                        record(&*ledger, &rain, &user, &win);
                        rain.stock.claimed(&packet);
                    }
                    None => rain.stock.put_back(&packet),
                }
                rain.winners.end(&user);
            }
            in_doubt.decrement(asks.len() as f64);
            tracing::info!(claims = asks.len(), "claims that were in doubt are decided");
        });
    }
}

/// Notes a durable win.
fn record(ledger: &dyn Ledger, rain: &Rain, user: &UserId, win: &Win) {
    rain.winners.record(user, win);
    tell_if_all_claimed(ledger, rain);
}

/// Whoever waits for a packet learns when the last one issued is claimed, and listeners when no
/// more will come.
pub(super) fn tell_if_all_claimed(ledger: &dyn Ledger, rain: &Rain) {
    if rain.all_claimed(&rain.view()) {
        rain.stock.look_again();
        let view = rain.view();
        if !view.more_waves {
            rain.events.tell_sold_out(&view.campaign, ledger.now());
        }
    }
}
