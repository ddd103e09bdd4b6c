//! The suite of ledgers that several processes share, on each server.

use std::sync::Arc;

use ledger::conformance::{
    bench::{Bench, TurnedClock},
    shared::Shared,
};

use crate::servers::{Backend, open};

mod on_mariadb {
    ledger::ledger_conformance_shared!(crate::shared::on_mariadb);
}

mod on_postgres {
    ledger::ledger_conformance_shared!(crate::shared::on_postgres);
}

async fn on_mariadb() -> Shared {
    fresh(Backend::MariaDb).await
}

async fn on_postgres() -> Shared {
    fresh(Backend::Postgres).await
}

/// A fresh ledger, opened twice under one clock.
async fn fresh(backend: Backend) -> Shared {
    let url = backend.database();
    let clock = Arc::new(TurnedClock::default());
    let ledger = Arc::new(open(&url, &clock).await);
    let other = Arc::new(open(&url, &clock).await);
    Shared {
        bench: Bench {
            ledger,
            clock,
            keep: Box::new(()),
        },
        other,
    }
}
