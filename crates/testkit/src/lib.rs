//! Servers for tests: each started from its Debian package, on a free port of 127.0.0.1, in a
//! temporary folder, and stopped with the value that stands for it.
//!
//! Only tests depend on this crate. A server that is not installed is a failure, never a skip:
//! `scripts/setup.sh test` installs them all.

pub mod certificate;
pub mod cut_proxy;
pub mod haproxy;
pub mod mariadb;
pub mod postgres;
pub mod redis;
pub mod redis_cluster;
pub mod server;
mod shared;
pub mod small_disk;

pub use certificate::Certificate;
pub use cut_proxy::{Cut, CutProxy};
pub use haproxy::HaProxy;
pub use mariadb::MariaDb;
pub use postgres::Postgres;
pub use redis::Redis;
pub use redis_cluster::RedisCluster;
pub use server::Server;
pub use small_disk::SmallDisk;
