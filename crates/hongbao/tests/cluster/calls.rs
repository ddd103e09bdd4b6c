//! What grabs cost in calls of backends: counted, not timed.
//!
//! The short form checks the aims; `what_a_thousand_grabs_cost` prints the table of
//! docs/scaling.md (`make calls`).

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use testkit::Redis;

use crate::{
    client::{Answer, Client},
    cluster::{Cluster, Role, Spec},
    engines::Database,
    sample::{plain, token},
    server::{Plan, Server},
    until::until,
};

/// Counts calls of the account service.
const ACCOUNT_CALLS: &str = "hongbao_account_call_attempts_count";
/// Database calls that a thousand wins may take under load.
const CALLS_PER_1000_WINS_MAX: f64 = 50.0;
/// Database calls every second and replica below which nobody calls it load: on a machine so busy
/// that wins come slowly, a commit holds fewer of them.
const CALLS_A_SECOND_MIN: f64 = 40.0;
/// Database, queue and account calls that a thousand losing grabs may take; what the processes
/// do every second anyway is taken off, which leaves a little noise. One that called would show
/// as a thousand.
const CALLS_PER_1000_LOSSES_MAX: f64 = 10.0;
/// Asks under way at the same time: load, for a group commit.
const AT_ONCE: u64 = 192;
/// What is counted.
const COUNTERS: [&str; 4] = [
    "hongbao_ledger_calls_total",
    "hongbao_queue_calls_total",
    ACCOUNT_CALLS,
    "hongbao_claim_batch_size_count",
];

/// Calls of ledger, queue and account, and how many of the ledger's were commits of claims.
type Calls = [f64; 4];

/// The embedded default, in the table.
const SERVE: &str = "SQLite, memory (`serve`)";

/// What is measured: a cluster, or `hongbao serve`.
enum Measured {
    Cluster(Box<Cluster>),
    Serve {
        server: Server,
        _folder: tempfile::TempDir,
    },
}

impl Measured {
    fn client(&self) -> Client {
        match self {
            Self::Cluster(cluster) => cluster.client(),
            Self::Serve { server, .. } => Client::new(server),
        }
    }

    /// Waits until whoever is grabbed at knows a campaign.
    async fn known_everywhere(&self, campaign: &str) {
        match self {
            Self::Cluster(cluster) => cluster.known_everywhere(campaign).await,
            // One process knows what it has made.
            Self::Serve { .. } => {}
        }
    }

    async fn calls(&mut self) -> Calls {
        let mut calls = [0.0; 4];
        for (call, name) in calls.iter_mut().zip(COUNTERS) {
            let count = match self {
                Self::Cluster(cluster) => cluster.counter(name).await,
                Self::Serve { server, .. } => Client::new(server).counter(name).await,
            };
            #[expect(clippy::cast_precision_loss, reason = "counts of a test")]
            {
                *call = count as f64;
            }
        }
        calls
    }

    /// The calls that `work` makes, and the seconds it takes.
    async fn during(&mut self, work: impl Future<Output = ()>) -> (Calls, f64) {
        let (before, began) = (self.calls().await, Instant::now());
        work.await;
        let seconds = began.elapsed().as_secs_f64();
        let after = self.calls().await;
        let mut calls = [0.0; 4];
        for (at, call) in calls.iter_mut().enumerate() {
            *call = after[at] - before[at];
        }
        (calls, seconds)
    }
}

/// What was found out about one installation.
struct Cost {
    /// Calls every second, whatever the load.
    constant: Calls,
    /// Per thousand wins, without the constant.
    wins: Calls,
    /// Wins a second.
    wins_a_second: f64,
    /// Per thousand losing grabs, without the constant.
    losses: Calls,
}

/// Asks by `count` new users, `AT_ONCE` at a time; how many won.
async fn ask_all(client: &Client, campaign: &str, kind: &str, count: u64) -> u64 {
    let (next, won) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let workers: Vec<_> = (0..AT_ONCE)
        .map(|_| {
            let (client, campaign, kind) = (client.clone(), campaign.to_owned(), kind.to_owned());
            let (next, won) = (next.clone(), won.clone());
            tokio::spawn(async move {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= count {
                        return;
                    }
                    let token = token(&format!("{kind}-{n}"));
                    if let Some(Answer::Won { .. }) = client.ask(&campaign, &token, None).await {
                        won.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.expect("a grab is answered by the contract");
    }
    won.load(Ordering::Relaxed)
}

/// `calls` in `seconds` without what would have been called anyway, per thousand of `count`.
fn per_thousand((calls, seconds): (Calls, f64), constant: Calls, count: u64) -> Calls {
    let mut result = [0.0; 4];
    for (at, result) in result.iter_mut().enumerate() {
        #[expect(clippy::cast_precision_loss, reason = "counts of a test")]
        let thousands = count as f64 / 1_000.0;
        *result = (calls[at] - constant[at] * seconds) / thousands;
    }
    result
}

async fn measure(mut measured: Measured, packets: u32, losses: u64, idle: Duration) -> Cost {
    let client = measured.client();
    // A trickle of losing grabs: the counters are saved, and nothing else happens.
    let sold_out = client.create(&plain(1)).await;
    measured.known_everywhere(&sold_out).await;
    until("the one packet is won", async || {
        (ask_all(&client, &sold_out, "first", 1).await == 1).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let trickle = async {
        let began = Instant::now();
        while began.elapsed() < idle {
            ask_all(&client, &sold_out, "trickle", 1).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    // A counter that does not exist is 0 as well, and would show no call of a loss.
    // One process asks itself who may try, and calls nobody.
    let is_one = matches!(measured, Measured::Serve { .. });
    for (calls, name) in measured.calls().await.into_iter().zip(COUNTERS) {
        let is_called = calls > 0.0 || is_one && name == ACCOUNT_CALLS;
        assert!(is_called, "there is no {name}");
    }
    let (calls, seconds) = measured.during(trickle).await;
    let constant = calls.map(|calls| calls / seconds);

    let rain = client.create(&plain(packets)).await;
    measured.known_everywhere(&rain).await;
    let mut won = 0;
    let winning = async {
        won = ask_all(&client, &rain, "winner", u64::from(packets) * 9 / 10).await;
    };
    let wins = measured.during(winning).await;
    assert!(won > 0, "nobody won");
    #[expect(clippy::cast_precision_loss, reason = "counts of a test")]
    let wins_a_second = won as f64 / wins.1;
    let wins = per_thousand(wins, constant, won);

    let losing = async {
        let won = ask_all(&client, &sold_out, "loser", losses).await;
        assert_eq!(won, 0, "sold out");
    };
    let losing = measured.during(losing).await;
    client.audit(&rain).await;
    let losses = per_thousand(losing, constant, losses);
    println!(
        "calls of ledger, queue, account, and commits of claims: each second {constant:.1?}; 1000 wins {wins:.1?} at {wins_a_second:.0} wins/s; 1000 losing grabs {losses:.1?}"
    );
    Cost {
        constant,
        wins,
        wins_a_second,
        losses,
    }
}

async fn cluster_of(replicas: usize, database: Database, redis: &Redis) -> Measured {
    let mut spec = Spec::new(database.url(), redis.url());
    spec.replicas = replicas.min(2);
    let mut cluster = Cluster::start(&spec).await;
    for number in spec.replicas..replicas {
        cluster.one(Role::Redpacket, number).start();
    }
    cluster.wait_until_up(Role::Redpacket).await;
    Measured::Cluster(Box::new(cluster))
}

fn check(cost: &Cost, replicas: f64) {
    let [ledger, ..] = cost.wins;
    let slow = CALLS_A_SECOND_MIN * replicas / cost.wins_a_second * 1_000.0;
    let allowed = CALLS_PER_1000_WINS_MAX.max(slow);
    assert!(
        ledger <= allowed,
        "1000 wins took {ledger:.1} database calls at {:.0} wins/s",
        cost.wins_a_second
    );
    for (calls, name) in cost.losses.into_iter().zip(COUNTERS) {
        assert!(
            calls < CALLS_PER_1000_LOSSES_MAX,
            "1000 losing grabs made {calls:.1} {name}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn few_for_wins_and_none_for_losses_on_mariadb() {
    let redis = Redis::start();
    let cluster = cluster_of(2, Database::MariaDb, &redis).await;
    check(
        &measure(cluster, 4_000, 4_000, Duration::from_secs(3)).await,
        2.0,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn few_for_wins_and_none_for_losses_on_postgresql() {
    let redis = Redis::start();
    let cluster = cluster_of(2, Database::Postgres, &redis).await;
    check(
        &measure(cluster, 4_000, 4_000, Duration::from_secs(3)).await,
        2.0,
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes long; `make calls` prints the table of docs/scaling.md"]
async fn what_a_thousand_grabs_cost() {
    println!(
        "| engines | replicas | 1000 wins: ledger | queue | account | 1000 losses: ledger | queue | account | each second: ledger | queue |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
    for replicas in [0_u8, 1, 2, 4] {
        for database in [Database::MariaDb, Database::Postgres] {
            let redis = Redis::start();
            let (name, measured) = if replicas == 0 {
                if database == Database::Postgres {
                    continue;
                }
                let folder = tempfile::tempdir().expect("a temporary folder can be made");
                let server = Plan::new(folder.path()).start();
                (
                    "SQLite, memory (`serve`)".to_owned(),
                    Measured::Serve {
                        server,
                        _folder: folder,
                    },
                )
            } else {
                let measured = cluster_of(replicas.into(), database, &redis).await;
                (format!("{database:?}, Redis"), measured)
            };
            let cost = measure(measured, 20_000, 20_000, Duration::from_secs(10)).await;
            let losses = cost.losses.into_iter().take(3);
            let numbers = cost.wins.into_iter().take(3).chain(losses);
            let numbers: Vec<_> = numbers.map(|calls| format!("{calls:.1}")).collect();
            let [ledger, queue, ..] = cost.constant;
            let replicas = replicas.max(1);
            println!(
                "| {name} | {replicas} | {} | {ledger:.1} | {queue:.1} | {:.0} |",
                numbers.join(" | "),
                cost.wins_a_second
            );
            // The embedded default commits what waits at once: its commit is no round trip, and
            // nobody shares it.
            if name != SERVE {
                check(&cost, f64::from(replicas));
            }
        }
    }
}
