//! The file: kept, locked, migrated, refused, full.

use std::{
    fs::File,
    os::unix::fs::{FileExt as _, PermissionsExt as _},
    path::Path,
    sync::Arc,
};

use ledger::{
    ClaimError, ClaimResult, Ledger as _, LedgerError, OpenError, SqliteLedger,
    conformance::bench::{Bench, Rain, START, TurnedClock, all_wins, won},
    sqlite::{SCHEMA, UNFINISHED},
};
use rules::{Clock as _, WinLimit};
use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};
use testkit::SmallDisk;

use crate::sqlite::past_the_ledger;

async fn open(folder: &Path, clock: &Arc<TurnedClock>) -> SqliteLedger {
    SqliteLedger::open(folder, clock.clone()).await.unwrap()
}

fn bench(ledger: &SqliteLedger, clock: &Arc<TurnedClock>) -> Bench {
    Bench {
        ledger: Arc::new(ledger.clone()),
        clock: clock.clone(),
        keep: Box::new(()),
    }
}

/// The seeds in it tell every amount before it is won.
#[tokio::test]
async fn nobody_else_can_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("new").join("data");
    let clock = Arc::new(TurnedClock::default());
    let ledger = open(&data, &clock).await;
    let rain = Rain::open(&bench(&ledger, &clock), 2, WinLimit::ONE).await;
    rain.win("ann", 1).await;
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    let mut private = 0;
    for entry in std::fs::read_dir(&data).unwrap() {
        let path = entry.unwrap().path();
        if path.to_string_lossy().contains("hongbao.db") {
            assert_eq!(mode(&path), 0o600, "{}", path.display());
            private += 1;
        }
    }
    assert!(private > 1, "the write-ahead log is there, too");
}

#[tokio::test]
async fn everything_is_there_after_a_restart_and_time_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(TurnedClock::default());
    let ledger = open(folder.path(), &clock).await;
    let mut rain = Rain::open(&bench(&ledger, &clock), 8, WinLimit::ONE).await;
    let win = rain.win("ann", 1).await;
    drop(rain.ledger);
    drop(ledger);
    clock.turn(-1_000);
    assert!(clock.now() < START);
    let ledger = open(folder.path(), &clock).await;
    assert!(
        ledger.now() >= win.claimed_at,
        "time went back over a restart"
    );
    rain.ledger = Arc::new(ledger);
    let wins = all_wins(&*rain.ledger, rain.campaign.no).await;
    assert_eq!(wins[0].1, win);
    assert_eq!(rain.win("bob", 2).await.ordinal, 1);
    rain.balanced().await;
}

#[tokio::test]
async fn a_second_opener_is_refused_until_the_first_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(TurnedClock::default());
    let first = open(folder.path(), &clock).await;
    let second = SqliteLedger::open(folder.path(), clock.clone()).await;
    let Err(error @ OpenError::InUse(_)) = second else {
        panic!("a second opener came in");
    };
    assert!(error.to_string().contains("in use by another process"));
    let by_file = SqliteLedger::open(&folder.path().join("hongbao.db"), clock.clone()).await;
    assert!(matches!(by_file, Err(OpenError::InUse(_))));
    let reader = SqliteLedger::open_read_only(folder.path(), clock.clone()).await;
    assert!(matches!(reader, Err(OpenError::InUse(_))));
    let clone = first.clone();
    first.close().await;
    drop(clone);
    open(folder.path(), &clock).await;
}

#[tokio::test]
async fn an_older_schema_is_migrated_with_what_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(TurnedClock::default());
    let books = include_str!("../../migrations/sqlite/0001_books.sql");
    let mut old = SqliteConnectOptions::new()
        .filename(folder.path().join("hongbao.db"))
        .create_if_missing(true)
        .connect()
        .await
        .unwrap();
    sqlx::raw_sql(books).execute(&mut old).await.unwrap();
    sqlx::raw_sql("UPDATE meta SET value = 77 WHERE key = 'version'; PRAGMA user_version = 1")
        .execute(&mut old)
        .await
        .unwrap();
    old.close().await.unwrap();
    let reader = SqliteLedger::open_read_only(folder.path(), clock.clone()).await;
    assert!(matches!(
        reader,
        Err(OpenError::Older {
            found: 1,
            known: SCHEMA
        })
    ));
    let ledger = open(folder.path(), &clock).await;
    assert_eq!(ledger.users_count().await.unwrap(), 0);
    let rain = Rain::plan(&bench(&ledger, &clock), 2, 1, WinLimit::ONE).await;
    assert_eq!(
        rain.campaign.version, 78,
        "the older file's version goes on"
    );
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(TurnedClock::default());
    open(folder.path(), &clock).await.close().await;
    let mut connection = past_the_ledger(folder.path()).await;
    sqlx::raw_sql("PRAGMA user_version = 99")
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    for _ in 0..2 {
        let refused = SqliteLedger::open(folder.path(), clock.clone()).await;
        let Err(error) = refused else {
            panic!("a newer schema was opened");
        };
        let text = error.to_string();
        assert!(text.contains("schema 99"), "{text}");
        assert!(text.contains(&format!("up to {SCHEMA}")), "{text}");
    }
    let reader = SqliteLedger::open_read_only(folder.path(), clock).await;
    assert!(matches!(reader, Err(OpenError::Newer { found: 99, .. })));
}

#[tokio::test]
async fn an_offline_audit_reads_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(TurnedClock::default());
    let missing = SqliteLedger::open_read_only(folder.path(), clock.clone()).await;
    assert!(matches!(missing, Err(OpenError::Missing(_))));
    let ledger = open(folder.path(), &clock).await;
    let rain = Rain::open(&bench(&ledger, &clock), 8, WinLimit::ONE).await;
    rain.win("ann", 1).await;
    let id = rain.campaign.id;
    drop(rain);
    drop(ledger);
    let ledger = SqliteLedger::open_read_only(folder.path(), clock)
        .await
        .unwrap();
    let snapshot = ledger.audit_snapshot(id).await.unwrap().unwrap();
    assert!(ledger::audit(&snapshot).balanced);
    let refused = ledger.close_campaign(id).await;
    assert!(
        matches!(refused, Err(LedgerError::Unavailable(_))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_damaged_file_stops_all_writing_and_says_so() {
    const PAGE: u64 = 4_096;
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(TurnedClock::default());
    let ledger = open(folder.path(), &clock).await;
    let rain = Rain::open(&bench(&ledger, &clock), 8, WinLimit::ONE).await;
    rain.win("ann", 1).await;
    let ask = rain.ask("bob", 1, 2);
    let id = rain.campaign.id;
    drop(rain);
    ledger.close().await;
    let mut connection = past_the_ledger(folder.path()).await;
    let root: i64 = sqlx::query_scalar("SELECT rootpage FROM sqlite_schema WHERE name = 'claims'")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    let file = File::options()
        .write(true)
        .open(folder.path().join("hongbao.db"))
        .unwrap();
    let page = u64::try_from(root - 1).unwrap() * PAGE;
    file.write_all_at(&[0xEE; PAGE as usize], page).unwrap();
    let ledger = open(folder.path(), &clock).await;
    let mut stopped = ledger.stopped();
    assert!(stopped.borrow_and_update().is_none());
    let refused = ledger.claim(0, &[ask]).await;
    assert!(
        matches!(refused, Err(ClaimError::NotDone(_))),
        "{refused:?}"
    );
    assert!(stopped.has_changed().unwrap());
    assert!(
        stopped
            .borrow()
            .as_ref()
            .is_some_and(|why| why.contains("restart"))
    );
    // Nothing is written any more, not even where nothing is damaged; reads go on.
    let refused = ledger.pause_campaign(id).await;
    assert!(
        matches!(refused, Err(LedgerError::Unavailable(_))),
        "{refused:?}"
    );
    assert!(ledger.ping().await.is_err(), "not ready any more");
    assert!(ledger.campaign(id).await.unwrap().is_some());
}

#[tokio::test]
async fn a_row_that_a_trigger_refuses_fails_alone() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(TurnedClock::default());
    let ledger = open(folder.path(), &clock).await;
    let rain = Rain::open(&bench(&ledger, &clock), 100, WinLimit::ONE).await;
    let mut connection = past_the_ledger(folder.path()).await;
    sqlx::raw_sql(
        "CREATE TRIGGER refuse BEFORE INSERT ON claims WHEN NEW.user = 'user 42' \
         BEGIN SELECT RAISE(ABORT, 'not this one'); END",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    let asks: Vec<_> = (1..=80)
        .map(|index| rain.ask(&format!("user {index}"), 1, index))
        .collect();
    let results = rain.claim(&asks).await;
    for (ask, result) in asks.iter().zip(&results) {
        if ask.packet.index == 42 {
            assert_eq!(*result, ClaimResult::Failed);
        } else {
            won(result);
        }
    }
    assert_eq!(rain.balanced().await.packets.claimed, 79);
}

fn all_won(results: &[ClaimResult]) {
    for result in results {
        won(result);
    }
}

#[tokio::test]
async fn a_full_disk_gives_nothing_keeps_everything_and_recovers() {
    let disk = SmallDisk::new(2);
    let folder = disk.path();
    let clock = Arc::new(TurnedClock::default());
    let ledger = open(folder, &clock).await;
    let rain = Rain::open(&bench(&ledger, &clock), 20_000, WinLimit::ONE).await;
    let mut answered = 0;
    let claim = async |first: u32| {
        let asks: Vec<_> = (first..first + 50)
            .map(|index| rain.ask(&format!("user {index}"), 1, index))
            .collect();
        rain.ledger.claim(0, &asks).await
    };
    let ballast = disk.ballast(256);
    let refused = loop {
        match claim(answered + 1).await {
            Ok(claimed) => all_won(&claimed.results),
            Err(error) => break error,
        }
        answered += 50;
        assert!(answered < 20_000, "the disk never was full");
    };
    assert!(
        matches!(refused, ClaimError::NotDone(LedgerError::Unavailable(_))),
        "{refused:?}"
    );
    assert!(
        ledger.stopped().borrow().is_none(),
        "a full disk is no broken disk"
    );
    assert_eq!(rain.balanced().await.packets.claimed, u64::from(answered));
    assert!(claim(answered + 1).await.is_err(), "still full");
    std::fs::remove_file(ballast).unwrap();
    let claimed = claim(answered + 1).await.unwrap();
    all_won(&claimed.results);
    assert_eq!(
        rain.balanced().await.packets.claimed,
        u64::from(answered) + 50
    );
    drop(rain);
    ledger.close().await;
}

#[tokio::test]
async fn a_copy_of_an_open_ledger_is_whole_and_never_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(TurnedClock::default());
    let ledger = open(&folder.path().join("data"), &clock).await;
    let rain = Rain::open(&bench(&ledger, &clock), 8, WinLimit::ONE).await;
    let win = rain.win("ann", 1).await;
    let copied = folder.path().join("copy");
    std::fs::create_dir(&copied).unwrap();
    let to = copied.join("hongbao.db");
    let schema = SqliteLedger::back_up(&folder.path().join("data"), &to).await;
    assert_eq!(schema.unwrap(), SCHEMA);
    rain.win("bob", 2).await;
    let again = SqliteLedger::back_up(&folder.path().join("data"), &to).await;
    assert!(matches!(again, Err(OpenError::Files { .. })));
    let sound = SqliteLedger::sound_copy(&to).await;
    assert_eq!(sound.unwrap(), SCHEMA);
    let names: Vec<_> = std::fs::read_dir(&copied).unwrap().collect();
    assert_eq!(names.len(), 1, "looking leaves nothing beside it");

    let copy = open(&copied, &clock).await;
    let wins = all_wins(&copy, rain.campaign.no).await;
    assert_eq!(wins.len(), 1, "bob came later");
    assert_eq!(wins[0].1, win);
}

#[tokio::test]
async fn a_damaged_or_newer_copy_is_found_out() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(TurnedClock::default());
    open(folder.path(), &clock).await.close().await;
    let mut connection = past_the_ledger(folder.path()).await;
    sqlx::raw_sql("PRAGMA user_version = 99")
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    let copy = folder.path().join("copy.db");
    let newer = SqliteLedger::back_up(folder.path(), &copy).await;
    assert!(matches!(newer, Err(OpenError::Newer { found: 99, .. })));
    let newer = SqliteLedger::sound_copy(folder.path()).await;
    assert!(matches!(newer, Err(OpenError::Newer { found: 99, .. })));

    let folder = tempfile::tempdir().unwrap();
    open(folder.path(), &clock).await.close().await;
    let file = File::options()
        .write(true)
        .open(folder.path().join("hongbao.db"))
        .unwrap();
    let pages = file.metadata().unwrap().len() / 4_096;
    file.write_at(&[0x55; 64], (pages - 1) * 4_096).unwrap();
    let damaged = SqliteLedger::sound_copy(folder.path()).await;
    assert!(
        matches!(damaged, Err(OpenError::Damaged(_) | OpenError::Sql(_))),
        "{damaged:?}"
    );
}

#[tokio::test]
async fn a_directory_with_half_a_restore_is_not_opened() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(TurnedClock::default());
    std::fs::write(folder.path().join(UNFINISHED), "half").unwrap();
    let refused = SqliteLedger::open(folder.path(), clock.clone()).await;
    assert!(matches!(refused, Err(OpenError::Unfinished(_))));
    let refused = SqliteLedger::open_read_only(folder.path(), clock).await;
    assert!(matches!(refused, Err(OpenError::Unfinished(_))));
    assert!(!folder.path().join("hongbao.db").exists());
}
