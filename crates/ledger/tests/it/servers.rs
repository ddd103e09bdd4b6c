//! Fresh ledgers on the database servers that the tests of this process share.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use ledger::{
    ServerLedger,
    conformance::bench::{Bench, TurnedClock},
    server::TimeSource,
};
use testkit::{MariaDb, Postgres};

/// The servers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Backend {
    MariaDb,
    Postgres,
}

impl Backend {
    /// A fresh database.
    pub(crate) fn new_database(self) -> Database {
        let name = match self {
            Self::MariaDb => MariaDb::shared().new_database(),
            Self::Postgres => Postgres::shared().new_database(),
        };
        Database {
            backend: self,
            name,
        }
    }

    /// The URL of a fresh database.
    pub(crate) fn database(self) -> String {
        self.new_database().url()
    }

    /// A fresh ledger with a clock to turn.
    pub(crate) async fn fresh(self) -> Bench {
        self.new_database().bench().await
    }
}

/// A database of its own on a shared server.
pub(crate) struct Database {
    pub(crate) backend: Backend,
    name: String,
}

impl Database {
    pub(crate) fn url(&self) -> String {
        self.url_through(self.port())
    }

    /// Its URL through another port, such as a proxy's.
    pub(crate) fn url_through(&self, port: u16) -> String {
        match self.backend {
            Backend::MariaDb => MariaDb::shared().url_through(port, &self.name),
            Backend::Postgres => Postgres::shared().url_through(port, &self.name),
        }
    }

    /// Its name on the server.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The server's port.
    pub(crate) fn port(&self) -> u16 {
        match self.backend {
            Backend::MariaDb => MariaDb::shared().port(),
            Backend::Postgres => Postgres::shared().port(),
        }
    }

    /// Runs statements past the ledger, as the administrator, and gives what they print.
    pub(crate) fn sql(&self, statements: &str) -> String {
        match self.backend {
            Backend::MariaDb => MariaDb::shared().sql(&format!("USE {}; {statements}", self.name)),
            Backend::Postgres => Postgres::shared().sql_in(&self.name, statements),
        }
    }

    /// A ledger in it, with a clock to turn.
    pub(crate) async fn bench(&self) -> Bench {
        let clock = Arc::new(TurnedClock::default());
        Bench {
            ledger: Arc::new(open(&self.url(), &clock).await),
            clock,
            keep: Box::new(()),
        }
    }

    /// How many of its transactions wait for a lock now.
    pub(crate) fn waiting(&self) -> u32 {
        // InnoDB shows everybody one picture, and makes a new one only when nobody has looked for
        // 0.1 s: tests that look more often, each or together, would see the old one for ever.
        static LOOKING: Mutex<()> = Mutex::new(());
        let _one_at_a_time = LOOKING.lock();
        let sql = match self.backend {
            Backend::MariaDb => {
                std::thread::sleep(Duration::from_millis(120));
                format!(
                    "SELECT count(*) FROM information_schema.innodb_trx t \
                     JOIN information_schema.processlist p ON p.id = t.trx_mysql_thread_id \
                     WHERE t.trx_state = 'LOCK WAIT' AND p.db = '{}'",
                    self.name
                )
            }
            Backend::Postgres => "SELECT count(*) FROM pg_stat_activity \
                 WHERE datname = current_database() AND wait_event_type = 'Lock'"
                .into(),
        };
        self.sql(&sql).parse().unwrap()
    }
}

/// Another handle of a ledger, as another process would have it.
pub(crate) async fn open(url: &str, clock: &Arc<TurnedClock>) -> ServerLedger {
    ServerLedger::open_with(url, clock.clone(), TimeSource::Clock)
        .await
        .unwrap()
}
