//! What an acknowledgement means: read from the connection that writes the claims, so that nothing
//! is promised that is not set there.

use super::{fault::Fail, write::Writer};
use crate::Durability;

/// `PRAGMA synchronous` from which on each commit is synced: FULL. Less syncs at checkpoints only.
const FULL: i64 = 2;

/// See [`crate::Ledger::durability`].
pub(super) async fn probe(writer: &Writer) -> Result<Durability, Fail> {
    let modes = writer.modes().await?;
    let synced = match modes.synchronous {
        0 => "OFF",
        1 => "NORMAL",
        FULL => "FULL",
        _ => "EXTRA",
    };
    let settings = format!(
        "SQLite in {} mode with synchronous={synced}",
        modes.journal.to_uppercase()
    );
    if modes.journal == "wal" && modes.synchronous >= FULL {
        return Ok(Durability {
            meaning: format!(
                "{settings}: an answered win has been synced to this machine's disk, and survives \
                 the end of the process and of power"
            ),
            weakness: None,
        });
    }
    Ok(Durability {
        meaning: format!("{settings}: an answered win may be lost with the machine's power"),
        weakness: Some(format!("it is {settings}; it should be WAL and FULL")),
    })
}

#[cfg(test)]
mod tests {
    use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};

    use super::*;
    use crate::{Ledger as _, SqliteLedger, conformance::bench::TurnedClock};

    #[tokio::test]
    async fn the_connection_that_writes_syncs_every_commit() {
        let folder = tempfile::tempdir().unwrap();
        let clock = std::sync::Arc::new(TurnedClock::default());
        let ledger = SqliteLedger::open(folder.path(), clock).await.unwrap();
        let mut write = ledger.inner.writer.begin().await.unwrap();
        let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous")
            .fetch_one(write.conn())
            .await
            .unwrap();
        let journal: String = sqlx::query_scalar("PRAGMA journal_mode")
            .fetch_one(write.conn())
            .await
            .unwrap();
        write.rollback().await.unwrap();
        assert_eq!((journal.as_str(), synchronous), ("wal", FULL));
        let durability = ledger.durability().await.unwrap();
        let expected = "SQLite in WAL mode with synchronous=FULL: ";
        assert!(
            durability.meaning.starts_with(expected),
            "{}",
            durability.meaning
        );
        assert_eq!(durability.weakness, None);
    }

    #[tokio::test]
    async fn what_syncs_less_is_called_weak() {
        for (journal, synchronous, named) in [
            (SqliteJournalMode::Wal, SqliteSynchronous::Normal, "NORMAL"),
            (SqliteJournalMode::Wal, SqliteSynchronous::Off, "OFF"),
            (SqliteJournalMode::Memory, SqliteSynchronous::Full, "MEMORY"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let options = SqliteConnectOptions::new()
                .filename(folder.path().join("weak.db"))
                .create_if_missing(true)
                .journal_mode(journal)
                .synchronous(synchronous);
            let durability = probe(&Writer::new(options)).await.unwrap();
            let weakness = durability.weakness.unwrap();
            assert!(weakness.contains(named), "{weakness}");
        }
    }
}
