//! What an SQLite error means for the books: try later, one bad row, or stop for good.

use crate::LedgerError;

/// A failed call inside this module: the database's own error, or one already in the ledger's
/// words.
#[derive(Debug)]
pub(super) enum Fail {
    /// The database's error.
    Sql(sqlx::Error),
    /// In the ledger's words.
    Ledger(LedgerError),
}

impl From<sqlx::Error> for Fail {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<LedgerError> for Fail {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error)
    }
}

/// What an error of the database means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Busy, full, out of memory: nothing was written, and later it may work.
    Later,
    /// The database refuses a row for what is in it.
    Row,
    /// The disk failed or the file is damaged. What the disk holds is unknown: nothing may be
    /// written until a restart has read it again.
    Broken,
    /// Anything else. Whether a commit happened is unknown.
    Unknown,
}

// Primary result codes, and two extended ones, of <https://www.sqlite.org/rescode.html>.
const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const NOMEM: i32 = 7;
const READONLY: i32 = 8;
const IOERR: i32 = 10;
const CORRUPT: i32 = 11;
const FULL: i32 = 13;
const CANTOPEN: i32 = 14;
const TOOBIG: i32 = 18;
const CONSTRAINT: i32 = 19;
const MISMATCH: i32 = 20;
const NOTADB: i32 = 26;
const IOERR_NOMEM: i32 = IOERR | (12 << 8);
const IOERR_SHMSIZE: i32 = IOERR | (19 << 8);

/// What `error` means.
pub(super) fn fault(error: &sqlx::Error) -> Fault {
    let code = error.as_database_error().and_then(|e| e.code());
    match code.and_then(|code| code.parse::<i32>().ok()) {
        Some(code) => meaning(code),
        None => Fault::Unknown,
    }
}

fn meaning(code: i32) -> Fault {
    match code {
        // Memory, or room for the index of the log, which is not synced: the log is untouched.
        IOERR_NOMEM | IOERR_SHMSIZE => Fault::Later,
        _ => match code & 0xff {
            BUSY | LOCKED | NOMEM | FULL | CANTOPEN | READONLY => Fault::Later,
            CONSTRAINT | MISMATCH | TOOBIG => Fault::Row,
            IOERR | CORRUPT | NOTADB => Fault::Broken,
            _ => Fault::Unknown,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_sync_or_write_stops_the_ledger_and_a_full_disk_does_not() {
        const FSYNC: i32 = IOERR | (4 << 8);
        const WRITE: i32 = IOERR | (3 << 8);
        assert_eq!(meaning(FSYNC), Fault::Broken);
        assert_eq!(meaning(WRITE), Fault::Broken);
        assert_eq!(meaning(CORRUPT), Fault::Broken);
        assert_eq!(meaning(FULL), Fault::Later);
        assert_eq!(meaning(IOERR_SHMSIZE), Fault::Later);
        assert_eq!(meaning(BUSY | (2 << 8)), Fault::Later);
        assert_eq!(meaning(CONSTRAINT | (1 << 8)), Fault::Row);
        assert_eq!(meaning(1), Fault::Unknown);
    }
}
