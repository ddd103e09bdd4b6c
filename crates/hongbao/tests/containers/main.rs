//! The template of deploy/compose/ in real containers, through its balancer, while containers are
//! killed, scaled, restarted and cut off. `scripts/docker.sh` brings the engine and the images; one
//! that cannot be had fails the test.
//!
//! One long test, because bringing it all up is the dearest part; each step prints what it took.
//! Nothing is asserted about time but that nothing takes for ever. `make soak` does each step
//! `ROUNDS` times as often, and two more; `ONLY=rolling` leaves out all but that, `ONLY=upgrade` all but those two.
//!
//! # Layout
//! - [`engine`]: Docker's engine and its commands. [`cluster`]: the template, up and down.
//! - [`story`]: the steps in their order. [`away`], [`kills`], [`network`], [`rolling`], [`scaling`],
//!   [`upgrade`]: each of them.
//! - [`steady`]: users of whom nobody may be turned away. [`machine`]: whether it stood still.
//! - [`refusal`]: what Compose says without secrets.
//! - the rest is shared with the tests of replicas that are plain processes.

mod away;
mod cluster;
mod engine;
mod kills;
mod machine;
mod network;
mod refusal;
mod rolling;
mod scaling;
mod steady;
mod story;
mod upgrade;

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
#[expect(dead_code, reason = "shared with tests/it, which starts processes")]
mod server;
#[path = "../cluster/storm.rs"]
#[expect(
    dead_code,
    reason = "shared with tests/cluster, which needs more of it"
)]
mod storm;
#[path = "../cluster/tour.rs"]
mod tour;
#[path = "../it/until.rs"]
mod until;
#[path = "../cluster/users.rs"]
mod users;
