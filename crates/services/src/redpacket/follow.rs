//! Following claims that other replicas made, so that each replica knows who has won and what is
//! left: "the same win again" and "sold out" are then right everywhere within a second.
//!
//! What is followed is each slot's count, taken under its lock, never a time: no clock can make
//! a claim be passed over. A node's own claims come past here, too, and change nothing. Where one
//! process is alone on its ledger nothing has to be followed.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ledger::{LedgerError, Seen};
use tokio_util::sync::CancellationToken;

use super::{Redpacket, committer::tell_if_all_claimed, rain::Rain, winners::lock};

/// How often the ledger is asked what came. One call for all campaigns, and one more for each
/// that had new claims.
const ASK_EVERY: Duration = Duration::from_millis(250);

/// How far the claims of one campaign are known here.
#[derive(Default)]
pub(super) struct Followed {
    seen: Mutex<Seen>,
    /// Whether the campaign has closed and all its claims are known: no more will come.
    to_the_end: AtomicBool,
}

impl Followed {
    /// Notes that all claims up to `seen` are known.
    pub(super) fn reached(&self, seen: Seen) {
        *lock(&self.seen) = seen;
    }

    /// Whether no more claims will come.
    pub(super) fn is_to_the_end(&self) -> bool {
        self.to_the_end.load(Ordering::Relaxed)
    }

    fn seen(&self) -> Seen {
        *lock(&self.seen)
    }
}

impl Redpacket {
    /// Follows the claims of all replicas until `stop`.
    pub async fn follow_claims(self: Arc<Self>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(ASK_EVERY) => {}
            }
            if let Err(error) = self.follow_once().await {
                tracing::warn!(%error, "could not read the claims of other replicas; trying again");
            }
        }
    }

    /// Reads the claims that are new.
    pub(super) async fn follow_once(&self) -> Result<(), LedgerError> {
        let rains = self.rains.load_full();
        let mut followed = Vec::new();
        for rain in rains.values() {
            let closed = rain.view().campaign.closed_at.is_some();
            if rain.followed.is_to_the_end() || rain.view().issued == 0 {
                continue;
            }
            if !rain.wins_loaded() {
                // One that had closed before this process started is looked up instead.
                if !closed {
                    self.load_wins(rain).await?;
                }
                continue;
            }
            followed.push((rain, closed));
        }
        if followed.is_empty() {
            return Ok(());
        }
        let numbers: Vec<_> = followed
            .iter()
            .map(|(rain, _)| rain.view().campaign.no)
            .collect();
        let seen = self.ledger.seen(&numbers).await?;
        assert_eq!(seen.len(), followed.len(), "one count for each campaign");
        for ((rain, closed), seen) in followed.into_iter().zip(seen) {
            if seen != rain.followed.seen() {
                self.read_on(rain).await?;
            }
            if closed {
                rain.followed.to_the_end.store(true, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// Reads the claims of one campaign that came after those known.
    async fn read_on(&self, rain: &Rain) -> Result<(), LedgerError> {
        let (no, known) = (rain.view().campaign.no, rain.followed.seen());
        let (wins, reached) = self.ledger.wins_after(no, &known).await?;
        let view = rain.view();
        if wins.iter().any(|(_, win)| !view.is_open(win.packet.wave)) {
            // Claims of a wave that this node has not heard of yet, counted against the waves it
            // knows, would make it say "sold out" too early. Next time it has heard.
            return Ok(());
        }
        drop(view);
        let before = rain.winners.claimed();
        for (user, win) in &wins {
            rain.winners.record(user, win);
        }
        rain.followed.reached(reached);
        let came = rain.winners.claimed() - before;
        if came > 0 {
            metrics::counter!("hongbao_claims_followed_total").increment(came);
            tell_if_all_claimed(&*self.ledger, rain);
        }
        Ok(())
    }
}
