//! Following the wins of other nodes: what is counted can be read, and nothing is missed.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rules::{PacketId, UserId, WinLimit};

use super::bench::{Bench, Rain, claim_among_others, won};
use crate::{CampaignNo, Seen, Win};

/// What a node that follows a campaign knows.
#[derive(Default)]
struct Follower {
    seen: Seen,
    known: BTreeMap<PacketId, (UserId, Win)>,
}

impl Follower {
    async fn follow(&mut self, rain: &Rain) {
        let after = rain.ledger.wins_after(rain.campaign.no, &self.seen).await;
        let (wins, seen) = after.unwrap();
        for (user, win) in wins {
            self.known.insert(win.packet, (user, win));
        }
        self.seen = seen;
        assert!(
            self.known.len() as u64 >= counted(&seen),
            "what is counted has been read"
        );
    }
}

fn counted(seen: &Seen) -> u64 {
    seen.0.iter().sum()
}

/// Counts the campaign's claims of this instant.
async fn seen(rain: &Rain) -> Seen {
    rain.ledger.seen(&[rain.campaign.no]).await.unwrap()[0]
}

/// Each slot counts its own claims, of each campaign apart, in the order of the question.
pub async fn each_slot_counts_its_claims(bench: Bench) {
    let one = Rain::open(&bench, 40, WinLimit::ONE).await;
    let two = Rain::open(&bench, 40, WinLimit::ONE).await;
    for (slot, index) in [(0, 1), (15, 2), (15, 3), (7, 4)] {
        let ask = one.ask(&format!("user {index}"), 1, index);
        won(&one.ledger.claim(slot, &[ask]).await.unwrap().results[0]);
    }
    two.win("ann", 1).await;
    let asked = [two.campaign.no, CampaignNo(999), one.campaign.no];
    let counts = one.ledger.seen(&asked).await.unwrap();
    let (mut ones, mut twos) = (Seen::default(), Seen::default());
    (ones.0[0], ones.0[7], ones.0[15], twos.0[0]) = (1, 1, 2, 1);
    assert_eq!(counts, [twos, Seen::default(), ones]);
    // A refused claim is not counted.
    one.claim(&[one.ask("another", 1, 1)]).await;
    assert_eq!(seen(&one).await, ones);
    assert!(one.ledger.seen(&[]).await.unwrap().is_empty());
}

/// Whoever asks for what came after the last answer has every win, and the same as the books.
pub async fn a_follower_misses_nothing(bench: Bench) {
    let rain = Rain::open(&bench, 60, WinLimit::ONE).await;
    let mut follower = Follower::default();
    follower.follow(&rain).await;
    assert!(follower.known.is_empty());
    let mut right = BTreeMap::new();
    for index in 1..=60_u32 {
        let ask = rain.ask(&format!("user {index}"), 1, index);
        let slot = (index * 7 % 16) as u8;
        let user = ask.user.clone();
        let win = won(&rain.ledger.claim(slot, &[ask]).await.unwrap().results[0]);
        right.insert(win.packet, (user, win));
        if index % 11 == 0 {
            follower.follow(&rain).await;
            assert_eq!(follower.known, right, "after {index} wins");
            assert_eq!(follower.seen, seen(&rain).await);
        }
    }
    follower.follow(&rain).await;
    assert_eq!(follower.known, right);
    let (more, same) = rain
        .ledger
        .wins_after(rain.campaign.no, &follower.seen)
        .await
        .unwrap();
    assert!(more.is_empty(), "nothing came since");
    assert_eq!(same, follower.seen);
}

/// Followed while many nodes claim at once, nothing is missed either; and what was counted
/// before a reading is in it.
pub async fn nothing_is_missed_while_many_claim(bench: Bench) {
    let rain = Arc::new(Rain::open(&bench, 320, WinLimit::ONE).await);
    let done = Arc::new(AtomicBool::new(false));
    let follower = tokio::spawn({
        let (rain, done) = (rain.clone(), done.clone());
        async move {
            let mut follower = Follower::default();
            loop {
                let last = done.load(Ordering::SeqCst);
                let before = seen(&rain).await;
                follower.follow(&rain).await;
                assert!(follower.known.len() as u64 >= counted(&before));
                if last {
                    return follower;
                }
            }
        }
    });
    let claimers: Vec<_> = (0..8_u8)
        .map(|node| {
            let rain = rain.clone();
            tokio::spawn(async move {
                for n in 0..20_u32 {
                    let first = u32::from(node) * 40 + 2 * n + 1;
                    let asks = [first, first + 1].map(|i| rain.ask(&format!("user {i}"), 1, i));
                    // Two nodes share each slot, as they do where nine nodes have two each.
                    let results = claim_among_others(&*rain.ledger, node / 2, &asks).await;
                    results.iter().map(won).for_each(drop);
                }
            })
        })
        .collect();
    for claimer in claimers {
        claimer.await.unwrap();
    }
    done.store(true, Ordering::SeqCst);
    let follower = follower.await.unwrap();
    assert_eq!(follower.known.len(), 320);
    assert_eq!(counted(&follower.seen), 320);
    assert_eq!(follower.seen, seen(&rain).await);
}

/// From nothing seen, every win comes, also when one slot has thousands.
pub async fn thousands_of_wins_are_read_at_once(bench: Bench) {
    const WINS: u32 = 6_000;
    let rain = Rain::open(&bench, WINS, WinLimit::ONE).await;
    for first in (1..=WINS).step_by(500) {
        let asks = (first..first + 500).map(|i| rain.ask(&format!("user {i}"), 1, i));
        let asks: Vec<_> = asks.collect();
        rain.claim(&asks).await.iter().map(won).for_each(drop);
    }
    let mut follower = Follower::default();
    follower.follow(&rain).await;
    assert_eq!(follower.known.len(), WINS as usize);
    let right = |(packet, (user, win)): (&PacketId, &(UserId, Win))| {
        user.as_str() == format!("user {}", packet.index)
            && win.amount == rain.amount(1, packet.index)
    };
    assert!(follower.known.iter().all(right));
    rain.balanced().await;
}
