//! A fresh SQLite ledger to try things on, and a way round it into its file.

use std::{path::Path, sync::Arc};

use ledger::{
    SqliteLedger,
    conformance::bench::{Bench, TurnedClock},
};
use sqlx::{ConnectOptions as _, SqliteConnection, sqlite::SqliteConnectOptions};

/// A fresh ledger in a folder of its own.
pub(crate) async fn fresh() -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(TurnedClock::default());
    let ledger = SqliteLedger::open(folder.path(), clock.clone())
        .await
        .unwrap();
    Bench {
        ledger: Arc::new(ledger),
        clock,
        keep: Box::new(folder),
    }
}

/// A connection past the ledger into its file.
pub(crate) async fn past_the_ledger(folder: &Path) -> SqliteConnection {
    SqliteConnectOptions::new()
        .filename(folder.join("hongbao.db"))
        .connect()
        .await
        .unwrap()
}
