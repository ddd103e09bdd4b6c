//! Tests of the endpoints against a real ledger and the embedded queue.

mod access;
mod crash;
mod life;
mod reading;
mod refusals;
mod replicas;
mod users;
