//! Opening: migrations by several processes at once, from every schema, and across versions;
//! URLs; the database's time; what an acknowledgement means.

use std::{collections::BTreeSet, sync::Arc};

use ledger::{
    Ledger as _, OpenError, ServerLedger, SystemClock,
    conformance::bench::{Rain, TurnedClock},
    server::SCHEMA,
};
use rules::{Clock as _, WinLimit};

use crate::{
    on_servers::on_servers,
    servers::{Backend, Database, open},
};

on_servers! {
    many_migrate_at_once,
    an_older_schema_is_migrated,
    a_migration_that_was_cut_short_is_finished,
    a_newer_schema_is_refused_unless_it_is_compatible,
    a_url_that_leads_nowhere_is_told_clearly,
    ledger_time_is_the_databases,
    time_goes_on_after_a_new_start,
    a_secret_is_made_once_whoever_asks_first,
}

/// Several processes start on an empty database; each finds it ready.
async fn many_migrate_at_once(backend: Backend) {
    let database = backend.new_database();
    let clock = Arc::new(TurnedClock::default());
    let mut opening = Vec::new();
    for _ in 0..5 {
        let (url, clock) = (database.url(), clock.clone());
        opening.push(tokio::spawn(async move { open(&url, &clock).await }));
    }
    for ledger in opening {
        ledger.await.unwrap().ping().await.unwrap();
    }
    let schema = database.sql("SELECT max(number) FROM migrations");
    assert_eq!(schema, SCHEMA.to_string());
}

/// The statements of the first schema, as they were released.
fn first_schema(backend: Backend) -> &'static str {
    match backend {
        Backend::MariaDb => include_str!("../../migrations/server/mysql/0001_books.sql"),
        Backend::Postgres => include_str!("../../migrations/server/postgres/0001_books.sql"),
    }
}

fn stamp(database: &Database, number: u32, compatible_from: u32) {
    database.sql(&format!(
        "INSERT INTO migrations (number, compatible_from) VALUES ({number}, {compatible_from})"
    ));
}

/// What belongs to the user of the tests, made by the administrator.
fn make_first_schema(database: &Database) {
    let table = "CREATE TABLE migrations (number BIGINT PRIMARY KEY, \
                 compatible_from BIGINT NOT NULL);";
    let schema = first_schema(database.backend);
    match database.backend {
        Backend::MariaDb => database.sql(&format!("{table} {schema}")),
        Backend::Postgres => database.sql(&format!("SET ROLE hongbao; {table} {schema}")),
    };
}

async fn works(ledger: &ServerLedger) {
    let lead = ledger.lead(ledger::NodeId(1), std::time::Duration::from_secs(1));
    assert!(
        lead.await.unwrap().is_some(),
        "the leader's table is of a later schema"
    );
}

async fn an_older_schema_is_migrated(backend: Backend) {
    let database = backend.new_database();
    make_first_schema(&database);
    stamp(&database, 1, 1);
    let ledger = open(&database.url(), &Arc::new(TurnedClock::default())).await;
    works(&ledger).await;
    assert_eq!(
        database.sql("SELECT max(number) FROM migrations"),
        SCHEMA.to_string()
    );
}

/// MySQL commits each table by itself: a process that dies in the middle leaves some of them.
async fn a_migration_that_was_cut_short_is_finished(backend: Backend) {
    let database = backend.new_database();
    make_first_schema(&database);
    let ledger = open(&database.url(), &Arc::new(TurnedClock::default())).await;
    works(&ledger).await;
    assert_eq!(
        database.sql("SELECT value FROM meta WHERE name = 'version'"),
        "0"
    );
}

/// In a rolling upgrade the newer version migrates first, and this one goes on where the newer
/// schema says that it may.
async fn a_newer_schema_is_refused_unless_it_is_compatible(backend: Backend) {
    let database = backend.new_database();
    let clock = Arc::new(TurnedClock::default());
    open(&database.url(), &clock).await.close().await;
    stamp(&database, SCHEMA + 1, SCHEMA);
    works(&open(&database.url(), &clock).await).await;
    stamp(&database, SCHEMA + 2, SCHEMA + 1);
    match ServerLedger::open(&database.url(), clock).await {
        Err(OpenError::Newer { found, known }) => {
            assert_eq!((found, known), (SCHEMA + 2, SCHEMA));
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("opened"),
    }
}

async fn a_url_that_leads_nowhere_is_told_clearly(backend: Backend) {
    let database = backend.new_database();
    let url = database.url();
    let (scheme, rest) = url.split_once("://").unwrap();
    let (way, _) = rest.split_once('?').unwrap();
    let (before, _) = way.rsplit_once('/').unwrap();
    let cases = [
        (format!("sqlite://{rest}"), "mysql://"),
        (format!("{scheme}://{before}"), "names no database"),
        (
            format!("{scheme}://{before}/hongbao_nowhere"),
            "hongbao_nowhere",
        ),
    ];
    for (url, told) in cases {
        let opened = ServerLedger::open(&url, Arc::new(SystemClock)).await;
        let error = opened.err().unwrap().to_string();
        assert!(error.contains(told), "{error}");
        assert!(
            !error.contains("pa%3A") && !error.contains("pa:"),
            "{error}"
        );
    }
}

/// A machine whose clock is months ahead keeps the database's time.
async fn ledger_time_is_the_databases(backend: Backend) {
    let database = backend.new_database();
    let clock = Arc::new(TurnedClock::default());
    clock.turn(200 * 86_400);
    let ledger = ServerLedger::open(&database.url(), clock.clone())
        .await
        .unwrap();
    let off = ledger.now().since(SystemClock.now()).abs();
    assert!(off < 86_400_000_000, "{off} us");
    assert!(clock.now().since(ledger.now()) > 86_400_000_000);
}

/// A new start, of a machine whose clock is behind, begins after the last claim.
async fn time_goes_on_after_a_new_start(backend: Backend) {
    let database = backend.new_database();
    let bench = database.bench().await;
    let rain = Rain::open(&bench, 8, WinLimit::ONE).await;
    let win = rain.win("ann", 1).await;
    let clock = Arc::new(TurnedClock::default());
    clock.turn(-3_600);
    let again = open(&database.url(), &clock).await;
    assert!(again.now() >= win.claimed_at);
}

/// Processes that start at the same time and were told no secret have the same one, for ever.
async fn a_secret_is_made_once_whoever_asks_first(backend: Backend) {
    let database = backend.new_database();
    let clock = Arc::new(TurnedClock::default());
    let ledger = open(&database.url(), &clock).await;
    assert_eq!(ledger.secret_if_made("key").await.unwrap(), None);
    let mut asking = Vec::new();
    for n in 0..8 {
        let (url, clock) = (database.url(), clock.clone());
        asking.push(tokio::spawn(async move {
            let ledger = open(&url, &clock).await;
            ledger.secret("key", &format!("fresh {n}")).await.unwrap()
        }));
    }
    let mut values = BTreeSet::new();
    let mut made = 0;
    for secret in asking {
        let secret = secret.await.unwrap();
        made += u32::from(secret.is_new);
        values.insert(secret.value);
    }
    assert_eq!((values.len(), made), (1, 1), "{values:?}");
    let again = ledger.secret("key", "another").await.unwrap();
    assert!(!again.is_new && values.contains(&again.value));
    assert_eq!(
        ledger.secret_if_made("key").await.unwrap(),
        values.pop_first()
    );
    assert_eq!(ledger.secret_if_made("no key").await.unwrap(), None);
}

/// Settings under which an answered win may be lost are named.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn weak_settings_are_named() {
    let clock = Arc::new(TurnedClock::default());
    let database = Backend::Postgres.new_database();
    let ledger = open(&database.url(), &clock).await;
    let durable = ledger.durability().await.unwrap();
    assert_eq!(durable.weakness, None);
    assert!(
        durable.meaning.contains("PostgreSQL"),
        "{}",
        durable.meaning
    );
    database.sql(&format!(
        "ALTER DATABASE {} SET synchronous_commit = off",
        database.name()
    ));
    let ledger = open(&database.url(), &clock).await;
    let weakness = ledger.durability().await.unwrap().weakness.unwrap();
    assert!(weakness.contains("synchronous_commit"), "{weakness}");

    let database = Backend::MariaDb.new_database();
    let ledger = open(&database.url(), &clock).await;
    let durable = ledger.durability().await.unwrap();
    assert_eq!(durable.weakness, None);
    assert!(durable.meaning.contains("MariaDB"), "{}", durable.meaning);
    database.sql("SET GLOBAL innodb_flush_log_at_trx_commit = 2");
    let weakness = ledger.durability().await.unwrap().weakness;
    database.sql("SET GLOBAL innodb_flush_log_at_trx_commit = 1");
    let weakness = weakness.unwrap();
    assert!(weakness.contains("innodb_flush_log"), "{weakness}");
}
