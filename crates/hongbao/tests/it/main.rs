//! Black-box tests: they start the real binary in a temporary folder and know only the HTTP
//! contract. They must never reach into the crates' insides; what can be tested there, is.
//!
//! # Layout
//! - [`server`], [`client`], [`sample`], [`until`]: start, kill and stop the binary; talk to it;
//!   what is sent; waiting.
//! - [`walk`], [`grabs`], [`organiser`], [`winners`], [`users`], [`identity`], [`events`],
//!   [`free_no`]: the contract, call by call.
//! - [`terms`], [`refusals`], [`roles`], [`wire`]: what is refused, to whom, and rubbish on the wire.
//! - [`process`]: start, drain, the lock on the data directory; [`services`]: services of their
//!   own, and what they refuse to start on.
//! - [`mns`]: the queue on the cloud's message service, offline.
//! - [`autoscale`]: the scaler's process.
//! - [`backup`]: a backup under load, and what is restored from it.
//! - [`crash`]: kill -9 under load, and the books afterwards; [`counts`]: the counts afterwards;
//!   [`full_disk`]: a disk without room.
//! - [`docs`]: the documents name only what exists; [`watching`]: so do the dashboard and the alerts.

mod autoscale;
mod backup;
mod client;
mod counts;
mod crash;
mod docs;
mod events;
mod free_no;
mod full_disk;
mod grabs;
mod identity;
mod mns;
mod organiser;
mod process;
mod refusals;
mod roles;
mod sample;
mod server;
mod services;
mod terms;
mod until;
mod users;
mod walk;
mod watching;
mod winners;
mod wire;
