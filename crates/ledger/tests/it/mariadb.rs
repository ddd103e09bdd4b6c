//! The suite of all databases on MariaDB.

use ledger::conformance::bench::Bench;

use crate::servers::Backend;

ledger::ledger_conformance!(crate::mariadb::fresh);

pub(crate) async fn fresh() -> Bench {
    Backend::MariaDb.fresh().await
}
