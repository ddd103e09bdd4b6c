//! The suite of all databases on PostgreSQL.

use ledger::conformance::bench::Bench;

use crate::servers::Backend;

ledger::ledger_conformance!(crate::postgres::fresh);

pub(crate) async fn fresh() -> Bench {
    Backend::Postgres.fresh().await
}
