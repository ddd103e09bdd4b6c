//! The ledger's tests: the suite of all databases on each of them, and what only some promise.

#![expect(
    clippy::unwrap_used,
    reason = "a call that fails here is a test that fails"
)]

mod encrypted;
mod mariadb;
mod on_servers;
mod outcomes;
mod postgres;
mod schemas;
mod servers;
mod several;
mod shared;
mod sqlite;
mod sqlite_files;
mod tampering;

mod on_sqlite {
    ledger::ledger_conformance!(crate::sqlite::fresh);
}
