//! What becomes of a claim when the database or the way to it fails: rolled back and tried again,
//! known not to be done, or in doubt and settled.

use std::{sync::Arc, time::Duration};

use ledger::{
    ClaimAsk, ClaimError, ClaimResult, Claimed, Ledger as _, LedgerError, ServerLedger, Win,
    conformance::bench::{Bench, Rain, asked_now, user, won},
};
use rules::{UserId, WinLimit};
use sqlx::{AssertSqlSafe, Connection as _};
use testkit::{Cut, CutProxy, cut_proxy::COMMIT_OF_CLAIMS};
use tokio::task::JoinHandle;

use crate::{
    on_servers::on_servers,
    servers::{Backend, Database, open},
};

on_servers! {
    a_deadlock_is_rolled_back_and_tried_again,
    a_lock_that_stays_held_ends_in_not_done,
    rows_of_a_stalled_transaction_hold_up_no_others,
    a_look_keeps_nobody_else_waiting,
    a_look_waits_for_what_is_being_committed,
    a_commit_whose_answer_is_lost_is_settled_as_won,
    a_commit_that_was_never_sent_is_settled_as_free,
    settling_waits_for_a_commit_that_comes_late,
    a_claim_given_up_leaves_nothing,
    broken_connections_are_replaced,
}

/// A connection of somebody else, in a transaction.
enum Stranger {
    MySql(sqlx::MySqlConnection),
    Postgres(sqlx::PgConnection),
}

impl Stranger {
    async fn begin(database: &Database) -> Self {
        let url = database.url();
        let mut stranger = match database.backend {
            Backend::MariaDb => Self::MySql(sqlx::MySqlConnection::connect(&url).await.unwrap()),
            Backend::Postgres => Self::Postgres(sqlx::PgConnection::connect(&url).await.unwrap()),
        };
        stranger.run("START TRANSACTION".into()).await;
        stranger
    }

    async fn run(&mut self, sql: String) {
        self.try_to_run(sql).await.unwrap();
    }

    async fn try_to_run(&mut self, sql: String) -> Result<(), sqlx::Error> {
        let sql = sqlx::raw_sql(AssertSqlSafe(sql));
        match self {
            Self::MySql(conn) => sql.execute(conn).await.map(drop),
            Self::Postgres(conn) => sql.execute(conn).await.map(drop),
        }
    }

    /// Inserts claims of `packets`, each by a user of its own.
    async fn claim(&mut self, campaign: i64, packets: impl Iterator<Item = u32>) {
        let by = |packet| (packet, format!("{packet:032x}"));
        self.claim_by(campaign, packets.map(by)).await;
    }

    /// Inserts claims of packets, each by the user whose id is these bytes in hexadecimal.
    async fn claim_by(&mut self, campaign: i64, claims: impl Iterator<Item = (u32, String)>) {
        let bytes = |hex: &str| match self {
            Self::MySql(_) => format!("x'{hex}'"),
            Self::Postgres(_) => format!("decode('{hex}', 'hex')"),
        };
        let row = |(packet, user): (u32, String)| {
            let (id, user) = (bytes(&format!("{packet:032x}")), bytes(&user));
            format!("({campaign}, 1, {packet}, {id}, {user}, 1, 0, 0, 1, 15, 1)")
        };
        let rows: Vec<_> = claims.map(row).collect();
        let sql = format!(
            "INSERT INTO claims (campaign_no, wave, idx, claim_id, user_id, amount, claimed_at, \
             period, ordinal, slot, slot_seq) VALUES {}",
            rows.join(",")
        );
        self.run(sql).await;
    }
}

/// A task that claims, and what comes of it.
type Claiming = JoinHandle<Result<Claimed, ClaimError>>;

/// Begins to claim through slot 0, and goes on once the claim waits for somebody's lock. One that
/// has given up before that was seen, on a machine with much else to do, is begun anew.
async fn begin_and_wait(database: &Database, rain: &Arc<Rain>, asks: &[ClaimAsk]) -> Claiming {
    loop {
        let (ledger, asks) = (rain.ledger.clone(), asked_now(&*rain.ledger, asks));
        let claiming = tokio::spawn(async move { ledger.claim(0, &asks).await });
        while !claiming.is_finished() {
            if database.waiting() > 0 {
                return claiming;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let claimed = claiming.await.unwrap();
        assert!(
            matches!(claimed, Err(ClaimError::NotDone(_))),
            "{claimed:?}"
        );
    }
}

async fn setting(backend: Backend) -> (Database, Bench, Arc<Rain>) {
    let database = backend.new_database();
    let bench = database.bench().await;
    let rain = Arc::new(Rain::open(&bench, 8, WinLimit::ONE).await);
    (database, bench, rain)
}

/// Two transactions that each want what the other has: the claim gives way, and is made again.
async fn a_deadlock_is_rolled_back_and_tried_again(backend: Backend) {
    let (database, bench, rain) = setting(backend).await;
    let mut stranger = Stranger::begin(&database).await;
    // Many rows, so that MySQL, which takes back the smaller transaction, takes back the claim.
    stranger.claim(999, 1..=200).await;
    stranger.claim(rain.campaign.no.0, 2..=2).await;
    let asks = [rain.ask("ann", 1, 1), rain.ask("bob", 1, 2)];
    let claiming = begin_and_wait(&database, &rain, &asks).await;
    // Has to wait for the claim's packet 1, which waits for the stranger's packet 2.
    stranger.claim(rain.campaign.no.0, 1..=1).await;
    stranger.run("ROLLBACK".into()).await;
    let claimed = match claiming.await.unwrap() {
        // It had waited for too long before the stranger came to want what it has.
        Err(ClaimError::NotDone(_)) => {
            let asks = asked_now(&*rain.ledger, &asks);
            bench.ledger.claim(0, &asks).await
        }
        claimed => claimed,
    };
    for result in claimed.unwrap().results {
        won(&result);
    }
    assert_eq!(rain.balanced().await.packets.claimed, 2);
}

/// A slot whose lock somebody keeps: the claim ends by itself, nothing is written, and later it
/// is won.
async fn a_lock_that_stays_held_ends_in_not_done(backend: Backend) {
    let (database, bench, rain) = setting(backend).await;
    let mut stranger = Stranger::begin(&database).await;
    stranger.run(lock_of(&rain, 3)).await;
    let asks = [rain.ask("ann", 1, 1)];
    let refused = bench.ledger.claim(3, &asks).await;
    assert!(
        matches!(refused, Err(ClaimError::NotDone(_))),
        "{refused:?}"
    );
    // Another slot is not held up.
    won(&bench
        .ledger
        .claim(4, &[rain.ask("bob", 1, 2)])
        .await
        .unwrap()
        .results[0]);
    stranger.run("ROLLBACK".into()).await;
    won(&bench.ledger.claim(3, &asks).await.unwrap().results[0]);
    assert_eq!(rain.balanced().await.packets.claimed, 2);
}

/// A process that has stalled in the midst of its claims: of those who ask elsewhere meanwhile only
/// its own users and packets wait for its end.
async fn rows_of_a_stalled_transaction_hold_up_no_others(backend: Backend) {
    let (database, bench, rain) = setting(backend).await;
    let no = rain.campaign.no.0;
    let mut stranger = Stranger::begin(&database).await;
    let ann = (1, hex::encode("ann"));
    let eve = (2, hex::encode("eve"));
    stranger.claim_by(no, [ann, eve].into_iter()).await;
    let claim = async |asks: &[ClaimAsk]| {
        let asks = asked_now(&*bench.ledger, asks);
        bench.ledger.claim(0, &asks).await.unwrap().results
    };
    // Ann asks for another packet, Fay for Eve's.
    let asks = [
        rain.ask("ann", 1, 3),
        rain.ask("bob", 1, 4),
        rain.ask("fay", 1, 2),
        rain.ask("cat", 1, 5),
    ];
    let first = claim(&asks).await;
    assert_eq!(first[0], ClaimResult::Failed);
    won(&first[1]);
    assert_eq!(first[2], ClaimResult::Failed);
    won(&first[3]);
    // They ask again, with others.
    let again = [asks[0].clone(), asks[2].clone(), rain.ask("dan", 1, 6)];
    let second = claim(&again).await;
    assert_eq!(second[..2], [ClaimResult::Failed, ClaimResult::Failed]);
    won(&second[2]);
    stranger.run("ROLLBACK".into()).await;
    for result in claim(&again[..2]).await {
        won(&result);
    }
    assert_eq!(rain.balanced().await.packets.claimed, 5);
}

/// A task that looks, and what comes of it.
type Looking = JoinHandle<Result<Vec<Vec<Win>>, LedgerError>>;

/// Begins to look for `user`, and goes on once the look waits for somebody's lock. One that has
/// given up before that was seen is begun anew.
async fn look_and_wait(database: &Database, rain: &Arc<Rain>, user: &UserId) -> Looking {
    loop {
        let (rain, user) = (rain.clone(), user.clone());
        let looking =
            tokio::spawn(async move { rain.ledger.look(rain.campaign.no, &[user]).await });
        while !looking.is_finished() {
            if database.waiting() > 0 {
                return looking;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let looked = looking.await.unwrap();
        assert!(
            matches!(looked, Err(LedgerError::Unavailable(_))),
            "{looked:?}"
        );
    }
}

/// A look that waits for a late slot's lock: those of the slots before it are free.
async fn a_look_keeps_nobody_else_waiting(backend: Backend) {
    let (database, _bench, rain) = setting(backend).await;
    let mut stranger = Stranger::begin(&database).await;
    stranger.run(lock_of(&rain, 9)).await;
    let mut free = 0;
    for _ in 0..10 {
        let looking = look_and_wait(&database, &rain, &user("ann")).await;
        let mut other = Stranger::begin(&database).await;
        let nowait = format!("{} NOWAIT", lock_of(&rain, 0));
        free += u32::from(other.try_to_run(nowait).await.is_ok());
        other.run("ROLLBACK".into()).await;
        looking.abort();
    }
    // Not each time: a look that is tried again passes through that lock, too.
    assert!(free > 5, "{free} of 10 times");
    stranger.run("ROLLBACK".into()).await;
}

/// The statement that locks a slot's row of the fence.
fn lock_of(rain: &Rain, slot: u8) -> String {
    let no = rain.campaign.no.0;
    format!("SELECT 1 FROM fence WHERE campaign_no = {no} AND slot = {slot} FOR UPDATE")
}

/// A claim that has its slot's lock when the look begins, and commits while it waits.
async fn a_look_waits_for_what_is_being_committed(backend: Backend) {
    let (database, _bench, rain) = setting(backend).await;
    let no = rain.campaign.no.0;
    loop {
        let mut stranger = Stranger::begin(&database).await;
        stranger.run(lock_of(&rain, 9)).await;
        let ann = (2, hex::encode("ann"));
        stranger.claim_by(no, std::iter::once(ann)).await;
        let looking = look_and_wait(&database, &rain, &user("ann")).await;
        stranger.run("COMMIT".into()).await;
        match looking.await.unwrap() {
            Ok(looked) => return assert_eq!(looked[0].len(), 1),
            // It had waited for too long; the row is there, and would be found without waiting.
            Err(_) => {
                stranger
                    .run(format!("DELETE FROM claims WHERE campaign_no = {no}"))
                    .await
            }
        }
    }
}

/// A handle whose connections go through a proxy.
async fn through_proxy(database: &Database, bench: &Bench) -> (CutProxy, ServerLedger) {
    let proxy = CutProxy::start(database.port());
    let url = database.url_through(proxy.port());
    let ledger = open(&url, &bench.clock).await;
    (proxy, ledger)
}

/// COMMIT was done, and its answer lost.
async fn a_commit_whose_answer_is_lost_is_settled_as_won(backend: Backend) {
    let (database, bench, rain) = setting(backend).await;
    let (proxy, ledger) = through_proxy(&database, &bench).await;
    let asks = [rain.ask("ann", 1, 1), rain.ask("bob", 1, 2)];
    proxy.cut_next(COMMIT_OF_CLAIMS, Cut::Answered);
    let doubtful = ledger.claim(5, &asks).await;
    assert!(
        matches!(doubtful, Err(ClaimError::InDoubt(_))),
        "{doubtful:?}"
    );
    assert_eq!(proxy.cuts(), 1);
    let settled = ledger.settle(5, &asks).await.unwrap();
    let again = ledger.claim(5, &asks).await.unwrap().results;
    for (settled, again) in settled.into_iter().zip(&again) {
        assert_eq!(settled, Some(won(again)), "the same win");
    }
    assert_eq!(rain.balanced().await.packets.claimed, 2);
}

/// The connection broke before COMMIT reached the database: what was in doubt is free.
async fn a_commit_that_was_never_sent_is_settled_as_free(backend: Backend) {
    let (database, bench, rain) = setting(backend).await;
    let (proxy, ledger) = through_proxy(&database, &bench).await;
    let asks = [rain.ask("ann", 1, 1), rain.ask("bob", 1, 2)];
    proxy.cut_next(COMMIT_OF_CLAIMS, Cut::NeverSent);
    let doubtful = ledger.claim(5, &asks).await;
    assert!(
        matches!(doubtful, Err(ClaimError::InDoubt(_))),
        "{doubtful:?}"
    );
    assert_eq!(ledger.settle(5, &asks).await.unwrap(), [None, None]);
    // Nobody has them: another may, and so may the same users.
    won(&ledger
        .claim(6, &[rain.ask("eve", 1, 1)])
        .await
        .unwrap()
        .results[0]);
    won(&ledger
        .claim(5, &[rain.ask("ann", 1, 2)])
        .await
        .unwrap()
        .results[0]);
    assert_eq!(rain.balanced().await.packets.claimed, 2);
}

/// The node is cut off, but its COMMIT is still on the way to the database: settling must not
/// say that the packet is free before it has arrived.
async fn settling_waits_for_a_commit_that_comes_late(backend: Backend) {
    let (database, bench, rain) = setting(backend).await;
    let (proxy, ledger) = through_proxy(&database, &bench).await;
    let asks = [rain.ask("ann", 1, 1)];
    proxy.cut_next(COMMIT_OF_CLAIMS, Cut::SentAfter(Duration::from_millis(600)));
    let doubtful = ledger.claim(5, &asks).await;
    assert!(
        matches!(doubtful, Err(ClaimError::InDoubt(_))),
        "{doubtful:?}"
    );
    // Time and again, as the node does: a time-out of the lock says nothing yet.
    let settled = loop {
        if let Ok(settled) = ledger.settle(5, &asks).await {
            break settled;
        }
    };
    let again = ledger.claim(5, &asks).await.unwrap().results;
    assert_eq!(settled, [Some(won(&again[0]))]);
    assert_eq!(rain.balanced().await.packets.claimed, 1);
}

/// A claim whose task is given up in the middle leaves neither rows nor locks.
async fn a_claim_given_up_leaves_nothing(backend: Backend) {
    let (database, bench, rain) = setting(backend).await;
    let mut stranger = Stranger::begin(&database).await;
    stranger.claim(rain.campaign.no.0, 1..=1).await;
    let asks = [rain.ask("ann", 1, 1)];
    let claiming = begin_and_wait(&database, &rain, &asks).await;
    claiming.abort();
    // Given up, or at an end by itself a moment before.
    assert!(!matches!(claiming.await, Ok(Ok(_))));
    stranger.run("ROLLBACK".into()).await;
    assert_eq!(rain.report().await.packets.claimed, 0);
    let results = loop {
        // Until the database has noticed that the other connection is gone.
        let asks = [rain.ask("bob", 1, 1), rain.ask("ann", 1, 2)];
        if let Ok(claimed) = bench.ledger.claim(0, &asks).await {
            break claimed.results;
        }
    };
    for result in &results {
        won(result);
    }
    assert_eq!(rain.balanced().await.packets.claimed, 2);
}

/// Connections that broke while nobody used them cost no call.
async fn broken_connections_are_replaced(backend: Backend) {
    let (database, bench, rain) = setting(backend).await;
    let (proxy, ledger) = through_proxy(&database, &bench).await;
    let mut claims = Vec::new();
    for slot in 0..4_u8 {
        let (ledger, rain) = (ledger.clone(), rain.clone());
        claims.push(tokio::spawn(async move {
            let name = format!("user {slot}");
            let ask = rain.ask(&name, 1, u32::from(slot) + 1);
            ledger.claim(slot, &[ask]).await.unwrap().results
        }));
    }
    for claim in claims {
        won(&claim.await.unwrap()[0]);
    }
    proxy.break_all();
    let results = ledger
        .claim(0, &[rain.ask("late", 1, 8)])
        .await
        .unwrap()
        .results;
    assert!(matches!(results[..], [ClaimResult::Won(_)]));
    assert_eq!(rain.balanced().await.packets.claimed, 5);
}
