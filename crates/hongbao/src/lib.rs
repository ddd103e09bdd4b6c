//! The parts of the `hongbao` binary.
//!
//! # Layout
//! - [`config`], [`secrets`]: what the services are told.
//! - [`serve`]: wiring, start and stop of the services; [`check`]: the same without serving.
//! - [`telemetry`]: logs, metrics, the runtime.
//! - [`client`]: subcommands that talk to a server.
//! - [`offline`]: subcommands that need none.
//! - [`health`]: the probe of a container.
//! - [`autoscale`]: scales the services' containers; [`cloud`]: the cloud's own services offline,
//!   for development.

pub mod autoscale;
pub mod check;
pub mod client;
pub mod cloud;
pub mod config;
pub mod health;
pub mod offline;
pub mod secrets;
pub mod serve;
pub mod telemetry;
