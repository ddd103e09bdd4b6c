//! Several replicas of each service behind HAProxy, on real databases and queues, while things
//! break. Black box: these tests know the HTTP contract, the binary's settings and signals. Each
//! ends with the books: what users were told against what was kept, and the audit.
//!
//! Run one at a time by themselves, whatever the test runner does: each wants the whole machine.
//! `ROUNDS` sets how many times as often each failure is repeated (`make soak ROUNDS=20`), `SEED`
//! replays an earlier run's choices.
//!
//! # Layout
//! - [`cluster`], [`engines`]: replicas, HAProxy, databases and queues, started and broken.
//! - [`users`], [`storm`], [`steady`]: who grabs meanwhile, and the books afterwards.
//! - [`mission`]: the four services with only the mission's names.
//! - [`walk`], [`tour`]: the walk-through, without failures. [`kills`], [`database`], [`queue`],
//!   [`replicas`], [`leader`], [`account`], [`weak`]: one failure each.
//! - [`cloud`]: the queue on MNS and the log on SLS; [`trouble`]: what befalls them.
//! - [`calls`]: what grabs cost in calls of backends, for docs/scaling.md.
//! - the rest is shared with the tests of `hongbao serve`.

mod account;
mod calls;
mod cloud;
mod cluster;
mod database;
mod engines;
mod kills;
mod leader;
mod mission;
mod queue;
mod replicas;
mod steady;
mod storm;
mod tour;
mod trouble;
mod users;
mod walk;
mod weak;

#[path = "../it/crash/books.rs"]
#[expect(dead_code, reason = "shared with tests/it, which needs more of it")]
mod books;
#[path = "../it/client.rs"]
#[expect(dead_code, reason = "shared with tests/it, which needs more of it")]
mod client;
#[path = "../it/crash/load.rs"]
#[expect(dead_code, reason = "shared with tests/it, which needs more of it")]
mod load;
#[path = "../it/crash/random.rs"]
mod random;
#[path = "../it/sample.rs"]
#[expect(dead_code, reason = "shared with tests/it, which needs more of it")]
mod sample;
#[path = "../it/server.rs"]
#[expect(dead_code, reason = "shared with tests/it, which needs more of it")]
mod server;
#[path = "../it/until.rs"]
mod until;
