//! What this node knows of wins: who has won what, and whose claim is under way.
//!
//! It answers "you have won this already" without the ledger, and keeps one user from having
//! two claims in flight. It never decides that somebody has *not* won: the ledger's keys do.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use ledger::Win;
use rules::{GrabId, UserId, WinLimit};
use tokio::sync::watch;

/// Wins and claims in flight of one campaign.
#[derive(Default)]
pub(crate) struct Winners {
    /// Read by every grab, so lock-free; written once per win, under `recording`.
    wins: papaya::HashMap<UserId, Box<[Win]>>,
    recording: Mutex<()>,
    claimed: AtomicU64,
    /// Dropping the sender wakes whoever waits for the claim's end; made for the first who does.
    in_flight: Mutex<HashMap<UserId, Option<watch::Sender<()>>>>,
    /// The length of `in_flight`, so that a grab of a sold-out campaign takes no lock.
    in_flight_count: AtomicUsize,
}

/// What a user's wins say about a new ask.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// The same win again.
    Repeated(Win),
    /// The wins of the period are used up, and this ask is none of them.
    LimitReached,
    /// The user may win.
    Open,
}

impl Winners {
    /// Notes a durable win; one that is known already changes nothing.
    pub(crate) fn record(&self, user: &UserId, win: &Win) {
        let _one_writer = lock(&self.recording);
        let pinned = self.wins.pin();
        let known = pinned.get(user).map_or(&[][..], |known| known);
        if known.iter().any(|one| one.packet == win.packet) {
            return;
        }
        let all = known.iter().chain(std::iter::once(win)).cloned().collect();
        pinned.insert(user.clone(), all);
        self.claimed.fetch_add(1, Ordering::AcqRel);
    }

    /// How many packets are claimed, as far as this node knows.
    pub(crate) fn claimed(&self) -> u64 {
        self.claimed.load(Ordering::Acquire)
    }

    /// What `user`'s wins say about an ask in `period`, under `limit`.
    pub(crate) fn known(
        &self,
        user: &UserId,
        limit: WinLimit,
        period: impl FnOnce() -> i64,
        grab_id: Option<GrabId>,
    ) -> Known {
        match self.wins.pin().get(user) {
            Some(wins) => known_among(wins, limit, period, grab_id),
            None => Known::Open,
        }
    }

    /// Marks a claim of `user` as under way; false when one is already.
    pub(crate) fn begin(&self, user: &UserId) -> bool {
        let mut in_flight = lock(&self.in_flight);
        if in_flight.contains_key(user) {
            return false;
        }
        in_flight.insert(user.clone(), None);
        self.in_flight_count.fetch_add(1, Ordering::Release);
        true
    }

    /// Ends the claim of `user` that is under way. Its win, if any, was recorded before.
    pub(crate) fn end(&self, user: &UserId) {
        if lock(&self.in_flight).remove(user).is_some() {
            self.in_flight_count.fetch_sub(1, Ordering::Release);
        }
    }

    /// Whether a claim of `user` is under way.
    pub(crate) fn is_under_way(&self, user: &UserId) -> bool {
        self.in_flight_count.load(Ordering::Acquire) > 0 && lock(&self.in_flight).contains_key(user)
    }

    /// What ends when the claim of `user` that is under way ends; `None` when none is.
    pub(crate) fn under_way(&self, user: &UserId) -> Option<watch::Receiver<()>> {
        if self.in_flight_count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let mut in_flight = lock(&self.in_flight);
        let ended = in_flight.get_mut(user)?;
        let ended = ended.get_or_insert_with(|| watch::Sender::new(()));
        Some(ended.subscribe())
    }
}

/// What all of a user's `wins` say about an ask in `period`, under `limit`.
pub(super) fn known_among(
    wins: &[Win],
    limit: WinLimit,
    period: impl FnOnce() -> i64,
    grab_id: Option<GrabId>,
) -> Known {
    let same_grab = |win: &&Win| grab_id.is_some() && win.grab_id == grab_id;
    if let Some(win) = wins.iter().find(same_grab) {
        return Known::Repeated(win.clone());
    }
    let period = period();
    let mut of_period = wins.iter().filter(|win| win.period == period);
    let Some(first) = of_period.next() else {
        return Known::Open;
    };
    if limit.count == 1 {
        return Known::Repeated(first.clone());
    }
    let count = 1 + of_period.count();
    if count >= limit.count as usize {
        Known::LimitReached
    } else {
        Known::Open
    }
}

/// Locks a mutex whose data no panic can leave half changed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use rules::{Fen, PacketId, Per, Timestamp};
    use uuid::Uuid;

    use super::*;

    fn win(index: u32, period: i64, grab: u128) -> Win {
        Win {
            packet: PacketId { wave: 1, index },
            amount: Fen::new(5).expect("small"),
            tier: None,
            claimed_at: Timestamp::from_micros(0),
            period,
            ordinal: 1,
            grab_id: Some(GrabId(Uuid::from_u128(grab))),
        }
    }

    #[test]
    fn a_win_is_counted_once_and_repeated() {
        let (winners, bob) = (Winners::default(), UserId::trusted("bob"));
        assert_eq!(winners.known(&bob, WinLimit::ONE, || 0, None), Known::Open);
        winners.record(&bob, &win(1, 0, 7));
        winners.record(&bob, &win(1, 0, 7));
        assert_eq!(winners.claimed(), 1);
        assert_eq!(
            winners.known(&bob, WinLimit::ONE, || 0, None),
            Known::Repeated(win(1, 0, 7))
        );
        let other_case = UserId::trusted("Bob");
        assert_eq!(
            winners.known(&other_case, WinLimit::ONE, || 0, None),
            Known::Open
        );
    }

    #[test]
    fn several_wins_follow_the_period_and_the_grab_id() {
        let (winners, bob) = (Winners::default(), UserId::trusted("bob"));
        let two = WinLimit {
            count: 2,
            per: Per::Wave,
        };
        let tap = |n| Some(GrabId(Uuid::from_u128(n)));
        winners.record(&bob, &win(1, 1, 1));
        assert_eq!(winners.known(&bob, two, || 1, tap(2)), Known::Open);
        winners.record(&bob, &win(2, 1, 2));
        assert_eq!(winners.known(&bob, two, || 1, tap(3)), Known::LimitReached);
        assert_eq!(winners.known(&bob, two, || 1, None), Known::LimitReached);
        assert_eq!(winners.known(&bob, two, || 2, tap(3)), Known::Open);
        assert_eq!(
            winners.known(&bob, two, || 2, tap(1)),
            Known::Repeated(win(1, 1, 1))
        );
    }

    #[tokio::test]
    async fn one_claim_per_user_is_under_way() {
        let (winners, bob) = (Winners::default(), UserId::trusted("bob"));
        assert!(winners.begin(&bob));
        assert!(!winners.begin(&bob));
        let mut wait = winners.under_way(&bob).expect("one is under way");
        winners.end(&bob);
        assert!(wait.changed().await.is_err(), "the end wakes the waiter");
        assert!(winners.under_way(&bob).is_none());
    }
}
