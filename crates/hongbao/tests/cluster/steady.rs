//! Users of whom not one may be turned away: replicas come and go in the regular way meanwhile.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::{
    client::{Answer, Client},
    cluster::Cluster,
    sample::{number, plain, text, token},
    until::until,
};

/// More packets than any of these tests gives out.
const PACKETS: u32 = 200_000;

/// Users at work, each of whom grabs once.
pub(crate) struct Steady {
    client: Client,
    campaign: String,
    going: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
    won: Arc<AtomicU64>,
    users: Vec<JoinHandle<Vec<(String, String)>>>,
}

impl Steady {
    /// Begins a campaign and `workers` users at a time, each after a `pause`.
    pub(crate) async fn begin(cluster: &Cluster, workers: u64, pause: Duration) -> Self {
        let client = cluster.client();
        let campaign = client.create(&plain(PACKETS)).await;
        cluster.known_everywhere(&campaign).await;
        let going = Arc::new(AtomicBool::new(true));
        let asked = Arc::new(AtomicU64::new(0));
        let won = Arc::new(AtomicU64::new(0));
        let users = (0..workers).map(|worker| {
            let (client, campaign) = (client.clone(), campaign.clone());
            let (going, asked, wins) = (going.clone(), asked.clone(), won.clone());
            tokio::spawn(async move {
                let mut won = Vec::new();
                for n in 0.. {
                    if !going.load(Ordering::Relaxed) {
                        break;
                    }
                    let user = format!("user-{worker}-{n}");
                    let token = token(&user);
                    let ask = client.ask_once(&campaign, &token, Some((Uuid::new_v4(), 1)));
                    // 503 and a broken connection are failures here.
                    let answer = ask.await;
                    let answer = answer.unwrap_or_else(|why| panic!("{user}'s grab failed: {why}"));
                    asked.fetch_add(1, Ordering::Relaxed);
                    match answer {
                        Answer::Won { packet, .. } => {
                            wins.fetch_add(1, Ordering::Relaxed);
                            won.push((user, packet));
                        }
                        answer => assert!(answer.missed("not_this_time"), "{user}: {answer:?}"),
                    }
                    tokio::time::sleep(pause).await;
                }
                won
            })
        });
        let users = users.collect();
        Self {
            client,
            campaign,
            users,
            going,
            asked,
            won,
        }
    }

    /// Whether somebody was turned away.
    pub(crate) fn has_failed(&self) -> bool {
        self.users.iter().any(JoinHandle::is_finished)
    }

    /// Lets them grab until as many more have won, or one was turned away.
    pub(crate) async fn more_wins(&self, more: u64) {
        let won = || self.won.load(Ordering::Relaxed);
        let enough = won() + more;
        until("users win", async || {
            (self.has_failed() || won() >= enough).then_some(())
        })
        .await;
    }

    /// Lets the users go, and checks that each win that was told is kept; how many asked.
    pub(crate) async fn end(self) -> u64 {
        self.going.store(false, Ordering::Relaxed);
        let mut told = HashSet::new();
        for user in self.users {
            told.extend(user.await.expect("a request failed"));
        }
        let asked = self.asked.load(Ordering::Relaxed);
        println!(
            "steady: {asked} grabs, {} of them won, none failed",
            told.len()
        );
        assert!(!told.is_empty(), "nobody was told of a win");
        let mut kept = self.client.winners(&self.campaign).await;
        kept.retain(|winner| told.contains(&(text(&winner["user"]), text(&winner["packet"]))));
        assert_eq!(kept.len(), told.len(), "wins that were told are gone");
        let audit = self.client.audit(&self.campaign).await;
        assert_eq!(number(&audit["packets"]["claimed"]), told.len() as u64);
        asked
    }
}
