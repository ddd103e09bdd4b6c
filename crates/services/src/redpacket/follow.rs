//! Following claims that other replicas made, so that each replica knows who has won and what is
//! left: "the same win again" and "sold out" are then right everywhere within a second.
//!
//! What is followed is each slot's count, taken under its lock, never a time: no clock can make
//! a claim be passed over. Of its own claims a node knows which places of its slots they took, so
//! it need not read them again; some come past here all the same, and change nothing. Where one
//! process is alone on its ledger nothing has to be followed.

use std::{
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ledger::{LedgerError, SLOTS, Seen};
use tokio_util::sync::CancellationToken;

use super::{Redpacket, committer::tell_if_all_claimed, rain::Rain, winners::lock};

/// How often the ledger is asked what came. One call for all campaigns, and one more for each
/// that had new claims.
const ASK_EVERY: Duration = Duration::from_millis(250);

/// How far the claims of one campaign are known here.
#[derive(Default)]
pub(super) struct Followed {
    known: Mutex<Known>,
    /// Whether the campaign has closed and all its claims are known: no more will come.
    to_the_end: AtomicBool,
}

/// Claims of one campaign, by their places in their slots.
#[derive(Default)]
struct Known {
    /// All up to these are known.
    seen: Seen,
    /// The latest of this node's own, by slot, that follow one another without a gap.
    own: [Range<u64>; SLOTS as usize],
}

impl Known {
    /// Goes on over the node's own claims.
    fn go_on(&mut self) {
        for (seen, own) in self.seen.0.iter_mut().zip(&self.own) {
            if own.contains(seen) {
                *seen = own.end;
            }
        }
    }
}

impl Followed {
    /// Notes that all claims up to `seen` are known.
    pub(super) fn reached(&self, seen: Seen) {
        let mut known = lock(&self.known);
        known.seen = seen;
        known.go_on();
    }

    /// Notes that this node has made the claims at `places` of `slot`, and knows them all.
    pub(super) fn took(&self, slot: u8, places: Range<u64>) {
        let mut known = lock(&self.known);
        let own = &mut known.own[usize::from(slot)];
        if own.end == places.start {
            own.end = places.end;
        } else {
            *own = places;
        }
        known.go_on();
    }

    /// Whether no more claims will come.
    pub(super) fn is_to_the_end(&self) -> bool {
        self.to_the_end.load(Ordering::Relaxed)
    }

    fn seen(&self) -> Seen {
        lock(&self.known).seen
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
                // One that closed before this process started, or long ago, is looked up instead.
                if !closed {
                    of_one(rain, self.load_wins(rain).await)?;
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
                of_one(rain, self.read_on(rain).await)?;
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

/// What is wrong with one campaign's books is told, and keeps nobody from following the others.
fn of_one(rain: &Rain, read: Result<(), LedgerError>) -> Result<(), LedgerError> {
    match read {
        Err(error @ LedgerError::Corrupt(_)) => {
            tracing::error!(campaign = %rain.id, %error, "could not read a campaign's claims");
            Ok(())
        }
        read => read,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot_3(count: u64) -> Seen {
        let mut seen = Seen::default();
        seen.0[3] = count;
        seen
    }

    #[test]
    fn its_own_claims_need_not_be_read() {
        let followed = Followed::default();
        followed.reached(slot_3(10));
        followed.took(3, 10..15);
        assert_eq!(followed.seen(), slot_3(15));
        followed.took(3, 15..17);
        assert_eq!(followed.seen(), slot_3(17));
        // Read meanwhile, and noted late: what came after it is known all the same.
        followed.reached(slot_3(12));
        assert_eq!(followed.seen(), slot_3(17));
    }

    #[test]
    fn claims_of_another_node_in_the_same_slot_are_not_passed_over() {
        let followed = Followed::default();
        followed.reached(slot_3(10));
        followed.took(3, 10..15);
        // Somebody else has made two.
        followed.took(3, 17..20);
        assert_eq!(followed.seen(), slot_3(15), "15 and 16 are to be read");
        followed.reached(slot_3(16));
        assert_eq!(followed.seen(), slot_3(16));
        followed.reached(slot_3(17));
        assert_eq!(followed.seen(), slot_3(20));
        followed.reached(slot_3(21));
        assert_eq!(followed.seen(), slot_3(21));
    }

    #[test]
    fn each_slot_is_followed_by_itself() {
        let followed = Followed::default();
        let mut seen = slot_3(10);
        seen.0[11] = 20;
        followed.reached(seen);
        followed.took(3, 10..15);
        // Behind somebody else's two.
        followed.took(11, 22..30);
        followed.took(3, 15..17);
        followed.took(11, 30..31);
        (seen.0[3], seen.0[11]) = (17, 20);
        assert_eq!(followed.seen(), seen);
        seen.0[11] = 22;
        followed.reached(seen);
        seen.0[11] = 31;
        assert_eq!(followed.seen(), seen);
    }

    #[test]
    fn claims_made_before_any_were_read_are_no_excuse() {
        let followed = Followed::default();
        followed.took(3, 10..15);
        assert_eq!(followed.seen(), Seen::default(), "0 to 9 are to be read");
        followed.reached(slot_3(10));
        assert_eq!(followed.seen(), slot_3(15));
    }
}
