//! What an error of a database server means for the books: again at once, later, or one bad row.

use crate::{LedgerError, failures};

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

impl Fail {
    /// What it means.
    pub(super) fn fault(&self) -> Fault {
        match self {
            Self::Sql(error) => fault(error),
            Self::Ledger(_) => Fault::Other,
        }
    }

    /// In the ledger's words.
    pub(super) fn judge(self) -> LedgerError {
        let error = match self {
            Self::Ledger(error) => error,
            Self::Sql(error) => match fault(&error) {
                Fault::Row | Fault::Unique => LedgerError::Corrupt(error.to_string()),
                Fault::Again | Fault::Waited | Fault::Lost | Fault::Other => {
                    LedgerError::Unavailable(error.to_string())
                }
            },
        };
        failures::count(&error);
        error
    }
}

/// What an error of the database means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A deadlock or a conflict of snapshots: the transaction is to be rolled back, and may work
    /// at once.
    Again,
    /// Another transaction has a lock, or a row that is not committed, and did not end in time.
    Waited,
    /// A unique key is there already.
    Unique,
    /// The database refuses a row for what is in it.
    Row,
    /// The connection is gone or of no more use.
    Lost,
    /// Anything else: full, read only, out of memory, shutting down.
    Other,
}

/// What `error` means.
pub(super) fn fault(error: &sqlx::Error) -> Fault {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolClosed
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::WorkerCrashed => Fault::Lost,
        sqlx::Error::Database(error) => {
            if let Some(error) = error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
                mysql(error.number())
            } else {
                postgres(&error.code().unwrap_or_default())
            }
        }
        _ => Fault::Other,
    }
}

/// Numbers of <https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html>, and
/// of MariaDB where they differ.
fn mysql(number: u16) -> Fault {
    match number {
        1205 => Fault::Waited,
        // Deadlock; MariaDB's record changed since the snapshot; TiDB's write conflict.
        1213 | 1020 | 9007 => Fault::Again,
        1022 | 1062 | 1169 | 1586 => Fault::Unique,
        // NOT NULL, out of range, truncated, wrong value, too long, CHECK (MySQL, MariaDB),
        // foreign key.
        1048 | 1264 | 1265 | 1366 | 1406 | 3819 | 4025 | 1452 => Fault::Row,
        // Read only: this server is no longer the one to write to. Another connection finds the
        // one that is.
        1290 | 1792 | 1836 => Fault::Lost,
        // Shut down, aborted, killed, timed out by the server.
        1053 | 1077 | 1079 | 1152 | 1158..=1161 | 1184 | 1927 | 3169 | 4031 => Fault::Lost,
        _ => Fault::Other,
    }
}

/// Codes of <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
fn postgres(code: &str) -> Fault {
    match code {
        "55P03" => Fault::Waited,
        // Serialization, deadlock.
        "40001" | "40P01" => Fault::Again,
        "23505" => Fault::Unique,
        _ if code.starts_with("22") || code.starts_with("23") => Fault::Row,
        // Connection exceptions; shut down by an administrator, crashed, starting up; read only,
        // which after a failover is no longer the server to write to; a transaction that was idle
        // or under way for too long, with which the session ends.
        "25006" | "25P03" | "25P04" | "57P01" | "57P02" | "57P03" | "57P05" => Fault::Lost,
        _ if code.starts_with("08") => Fault::Lost,
        _ => Fault::Other,
    }
}

/// Why a commit has no good end.
#[derive(Debug)]
pub(super) enum CommitFault {
    /// The transaction was rolled back; nothing was written.
    NotDone(Fail),
    /// COMMIT was sent; whether it happened is unknown.
    Unknown(Fail),
}

impl From<CommitFault> for Fail {
    fn from(fault: CommitFault) -> Self {
        match fault {
            CommitFault::NotDone(fail) | CommitFault::Unknown(fail) => fail,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlocks_and_lock_timeouts_are_tried_again_and_bad_rows_are_not() {
        assert_eq!([1205, 1213].map(mysql), [Fault::Waited, Fault::Again]);
        assert_eq!(
            ["40001", "40P01", "55P03"].map(postgres),
            [Fault::Again, Fault::Again, Fault::Waited]
        );
        assert_eq!((mysql(4025), postgres("23514")), (Fault::Row, Fault::Row));
        assert_eq!(
            (mysql(1062), postgres("23505")),
            (Fault::Unique, Fault::Unique)
        );
        assert_eq!((mysql(1927), postgres("57P01")), (Fault::Lost, Fault::Lost));
        assert_eq!(
            (mysql(1040), postgres("53100")),
            (Fault::Other, Fault::Other)
        );
    }
}
