//! The label-driven scaler for Docker: watches the containers of Compose projects and keeps each
//! labelled service between its bounds by its use of CPU.
//!
//! It keeps no state of its own: what there is, Docker says. It must never touch a container that
//! is not of a service with its labels, never stop one without its time to drain, and never go
//! below a service's least or above its most instances.
//!
//! # Layout
//! - [`rule`]: what to do, decided purely; [`window`]: averages of CPU over a sliding window.
//! - [`labels`]: what a service's labels say; [`fleet`]: what Docker's list says.
//! - [`copy`]: a container made from its sibling.
//! - [`docker`]: the calls of Docker's API.
//! - [`patience`]: how long it waits for others; [`pulse`]: whether it is alive, for others.
//! - [`scaler`]: observes, decides, acts, in a loop; [`actions`]: what is done to containers.

mod actions;
pub mod copy;
pub mod docker;
pub mod fleet;
pub mod labels;
pub mod patience;
pub mod pulse;
pub mod rule;
pub mod scaler;
pub mod window;

pub use docker::{Docker, DockerError};
pub use patience::Patience;
pub use scaler::{Options, Scaler, describe_metrics};
