//! Databases and queues that the clusters run on. The servers are shared by the tests of this
//! process, which run one after the other; each test has a database of its own.

use testkit::{MariaDb, Postgres};

/// Which database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Database {
    /// MariaDB, by the MySQL protocol.
    MariaDb,
    /// PostgreSQL.
    Postgres,
}

impl Database {
    /// The URL of a new database on the shared server.
    pub(crate) fn url(self) -> String {
        match self {
            Self::MariaDb => MariaDb::shared().database(),
            Self::Postgres => Postgres::shared().database(),
        }
    }
}
