//! Replicas of redpacket that stall, come and go, and a user who finds another at each try.

use std::time::Duration;

use reqwest::Method;
use testkit::Redis;

use crate::{
    client::Answer,
    cluster::{Cluster, Role, Spec},
    engines::Database,
    random::Random,
    sample::{number, plain, token, unix_seconds},
    steady::Steady,
    storm::{Storm, times},
};

/// Between two steps of scaling.
const PAUSE: Duration = Duration::from_secs(1);
/// Wins after each of them: users who are answered and never win are not served.
const WINS_A_STEP: u64 = 50;
/// Longer than a bundle's lease in these tests (10 s), so that others hold its packets by then.
const STALL: Duration = Duration::from_secs(13);

/// Stopped in the middle of whatever it does, and let go on when its leases are long over.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_stalls_past_its_leases_takes_nothing_twice() {
    let redis = Redis::start();
    let spec = Spec::new(Database::MariaDb.url(), redis.url());
    let mut cluster = Cluster::start(&spec).await;
    let storm = Storm::begin(&cluster).await;
    storm.rain_wins(60).await;
    for round in 0..times(1) {
        let number = usize::try_from(round % 2).expect("small");
        cluster.one(Role::Redpacket, number).signal("STOP");
        tokio::time::sleep(STALL).await;
        cluster.one(Role::Redpacket, number).signal("CONT");
        storm.rain_wins(60).await;
    }
    storm.settle().await;
}

/// Asks one replica and gives up before the answer, or not; then asks the others.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_hears_the_same_from_each() {
    let redis = Redis::start();
    let spec = Spec::new(Database::Postgres.url(), redis.url());
    let mut cluster = Cluster::start(&spec).await;
    let seed = unix_seconds();
    println!("replicas: seed {seed}");
    let campaign = cluster.client().create(&plain(150)).await;
    let clients: Vec<_> = (0..2)
        .map(|number| cluster.one(Role::Redpacket, number).client())
        .collect();
    cluster.known_everywhere(&campaign).await;
    let users = (0..12_u64).map(|worker| {
        let (clients, campaign) = (clients.clone(), campaign.clone());
        let mut random = Random::new(seed ^ worker);
        tokio::spawn(async move {
            let mut wins = 0;
            for n in 0..20 {
                let (user, tap) = (format!("user-{worker}-{n}"), random.uuid());
                let first = usize::from(random.below(2) == 0);
                let path = format!("/redpacket/campaigns/{campaign}/grab");
                let ask = clients[first]
                    .request(Method::POST, &path)
                    .bearer_auth(token(&user))
                    .header("Grab-Id", tap.to_string())
                    .timeout(Duration::from_micros(random.below(20_000)));
                // Most of these give up before they hear.
                drop(ask.send().await);
                let mut heard = Vec::new();
                for attempt in 2..6 {
                    let client = &clients[(first + attempt as usize) % 2];
                    let token = token(&user);
                    let ask = client.ask(&campaign, &token, Some((tap, attempt)));
                    if let Some(answer) = ask.await {
                        heard.push(answer);
                    }
                }
                let won: Vec<_> = heard
                    .iter()
                    .filter(|answer| matches!(answer, Answer::Won { .. }))
                    .map(Answer::win)
                    .collect();
                assert!(
                    won.windows(2).all(|two| two[0] == two[1]),
                    "{user}: {heard:?}"
                );
                // Once told of a win, a user never hears anything else.
                let after = heard
                    .iter()
                    .skip_while(|a| !matches!(a, Answer::Won { .. }));
                assert_eq!(after.count(), won.len(), "{user}: {heard:?}");
                wins += u64::from(!won.is_empty());
            }
            wins
        })
    });
    let users: Vec<_> = users.collect();
    let mut told = 0;
    for user in users {
        told += user.await.expect("a user found the contract broken");
    }
    let audit = cluster.client().audit(&campaign).await;
    let claimed = number(&audit["packets"]["claimed"]);
    println!("replicas: {told} users won, {claimed} packets claimed");
    // Nobody told and nothing claimed would be the same, too.
    assert!(claimed > 100, "hardly anybody won: {audit}");
    assert_eq!(told, claimed, "{audit}");
}

/// From one replica to four and back to one, and every request through HAProxy is answered 200.
#[tokio::test(flavor = "multi_thread")]
async fn from_one_to_four_and_back_without_a_failed_request() {
    let redis = Redis::start();
    let mut spec = Spec::new(Database::MariaDb.url(), redis.url());
    spec.replicas = 1;
    let mut cluster = Cluster::start(&spec).await;
    let users = Steady::begin(&cluster, 8, Duration::from_millis(5)).await;

    for round in 0..times(1) {
        // The one that has run for longest goes first, and each in its turn is the last one.
        let last = usize::try_from((round + 1) % 4).expect("small");
        for number in 0..4 {
            if !cluster.one(Role::Redpacket, number).runs() {
                cluster.one(Role::Redpacket, number).start();
                cluster.wait_until_up(Role::Redpacket).await;
                tokio::time::sleep(PAUSE).await;
                users.more_wins(WINS_A_STEP).await;
            }
        }
        for number in (0..4).filter(|number| *number != last) {
            cluster.one(Role::Redpacket, number).stop();
            tokio::time::sleep(PAUSE).await;
            users.more_wins(WINS_A_STEP).await;
        }
        assert!(!users.has_failed(), "a request failed; see below");
    }
    users.end().await;
}
