//! The template of deploy/compose/ in real containers, through its balancer, while containers are
//! killed, scaled, restarted and cut off. `scripts/docker.sh` brings the engine and the images; one
//! that cannot be had fails the test.
//!
//! One long test, because bringing it all up is the dearest part; each step prints what it took.
//! Nothing is asserted about time but that nothing takes for ever. `make soak` does each step
//! `ROUNDS` times as often, and only there is every container restarted under load: see [`story`].
//!
//! # Layout
//! - [`engine`]: Docker's engine and its commands. [`cluster`]: the template, up and down.
//! - [`story`]: the steps in their order. [`kills`], [`scaling`], [`rolling`], [`network`]: each of
//!   them.
//! - [`refusal`]: what Compose says without secrets.
//! - the rest is shared with the tests of replicas that are plain processes.

mod cluster;
mod engine;
mod kills;
mod network;
mod refusal;
mod rolling;
mod scaling;
mod story;

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
#[path = "../cluster/steady.rs"]
mod steady;
#[path = "../cluster/storm.rs"]
#[expect(
    dead_code,
    reason = "shared with tests/cluster, which needs more of it"
)]
mod storm;
#[path = "../cluster/tour.rs"]
mod tour;
#[path = "../cluster/users.rs"]
mod users;
