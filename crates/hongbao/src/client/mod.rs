//! Subcommands that talk to a server over its HTTP contract.
//!
//! They never open a data directory except to read the organiser's key from it, and they show
//! what the server says; they decide nothing about packets or money themselves.
//!
//! # Layout
//! - [`campaign`]: `hongbao campaign …`, one file per subcommand.
//! - [`crowd`]: `hongbao crowd`.
//! - `server`: which server, the organiser's key, calls and their errors.
//! - `show`: how campaigns, money, times and tables are written.

pub mod campaign;
pub mod crowd;
mod server;
mod show;

#[cfg(test)]
mod fake;

use std::process::ExitCode;

/// Turns the error of a reader that went away, such as `head`, into a quiet success: whoever
/// closed the pipe has what they wanted.
fn quiet_pipe(result: anyhow::Result<ExitCode>) -> anyhow::Result<ExitCode> {
    let closed = |cause: &(dyn std::error::Error + 'static)| {
        let io = cause.downcast_ref::<std::io::Error>();
        io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    };
    match result {
        Err(error) if error.chain().any(closed) => Ok(ExitCode::SUCCESS),
        other => other,
    }
}
