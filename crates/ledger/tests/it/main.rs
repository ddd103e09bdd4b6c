//! The ledger's tests: the suite of all databases on SQLite, and what only SQLite promises.

#![expect(
    clippy::unwrap_used,
    reason = "a call that fails here is a test that fails"
)]

mod sqlite;
mod sqlite_files;
mod tampering;

mod on_sqlite {
    ledger::ledger_conformance!(crate::sqlite::fresh);
}
