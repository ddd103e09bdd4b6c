//! The group commit: whatever claims wait go into one transaction, and their replies wait for
//! the commit.
//!
//! The committer, not the request, finishes a claim: a client that goes away in mid-commit
//! leaves no packet and no user behind in flight.

use std::{net::IpAddr, sync::Arc, time::Duration};

use ledger::{ClaimAsk, ClaimError, ClaimResult, Ledger, NodeId, Win};
use rules::{GrabId, UserId};
use tokio::{sync::mpsc, time::Instant};

use super::{
    batches::{Batches, Commits},
    courier::{Reply, Round},
    rain::Rain,
    stock::HeldPacket,
};
use crate::{
    account::asking::{Admission, Attempt},
    task::critical,
};

/// The most claims that may wait for their transaction; more are answered 503.
const WAITING_MAX: usize = 16_384;
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

/// Sees claims through their transactions, each to its end.
pub(crate) struct Committer {
    ledger: Arc<dyn Ledger>,
    admission: Admission,
}

impl Committer {
    /// Commits from now on, until every [`Claims`] is gone and nothing waits.
    pub(crate) fn start(
        ledger: Arc<dyn Ledger>,
        admission: Admission,
        node: NodeId,
        commits: Commits,
    ) -> Claims {
        metrics::gauge!("hongbao_undecided_claims").set(0.0);
        let (claims, waiting) = mpsc::channel(WAITING_MAX);
        let committer = Arc::new(Self { ledger, admission });
        let commit = move |slot, batch| {
            let committer = committer.clone();
            async move { committer.commit(slot, batch).await }
        };
        critical(
            "committer",
            Batches::new(waiting, node, commits).run(commit),
        );
        Claims(claims)
    }

    async fn commit(&self, slot: u8, batch: Vec<Claim>) {
        let asks: Vec<ClaimAsk> = batch.iter().map(|claim| claim.ask.clone()).collect();
        metrics::histogram!("hongbao_claim_batch_size").record(asks.len() as f64);
        let began = Instant::now();
        let claimed = self.ledger.claim(slot, &asks).await;
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
                    rain.followed.took(slot, places);
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
                self.settle_later(slot, batch, asks);
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
    fn settle_later(&self, slot: u8, batch: Vec<Claim>, asks: Vec<ClaimAsk>) {
        let ledger = self.ledger.clone();
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
        critical("settling", async move {
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
