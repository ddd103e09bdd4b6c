//! Fresh ledgers on the database servers that the tests of this process share.

use std::sync::Arc;

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
    /// The URL of a fresh database.
    pub(crate) fn database(self) -> String {
        match self {
            Self::MariaDb => MariaDb::shared().database(),
            Self::Postgres => Postgres::shared().database(),
        }
    }

    /// A fresh ledger with a clock to turn.
    pub(crate) async fn fresh(self) -> Bench {
        let url = self.database();
        let clock = Arc::new(TurnedClock::default());
        Bench {
            ledger: Arc::new(open(&url, &clock).await),
            clock,
            keep: Box::new(()),
        }
    }
}

/// Another handle of a ledger, as another process would have it.
pub(crate) async fn open(url: &str, clock: &Arc<TurnedClock>) -> ServerLedger {
    ServerLedger::open_with(url, clock.clone(), TimeSource::Clock)
        .await
        .unwrap()
}
