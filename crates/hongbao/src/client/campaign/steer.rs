//! `hongbao campaign pause|resume|close`: each changes nothing when it is repeated.

use std::process::ExitCode;

use serde_json::json;

use super::{OneArgs, presented::present};
use crate::client::show::{self, Campaign, Out};

/// What is done.
#[derive(Clone, Copy, Debug)]
pub(super) enum Verb {
    Pause,
    Resume,
    Close,
}

/// Steers one campaign and shows it afterwards.
pub(super) async fn run(verb: Verb, args: OneArgs, out: Out<'_>) -> anyhow::Result<ExitCode> {
    let (below, done) = match verb {
        Verb::Pause => ("/pause", "Paused"),
        Verb::Resume => ("/resume", "Resumed"),
        Verb::Close => ("/close", "Closed"),
    };
    let server = args.server.server()?;
    let after = server.post(&args.path(below), &json!({}), None).await?;
    if args.json {
        show::json(out, &after)?;
        return Ok(ExitCode::SUCCESS);
    }
    write!(out, "{done}: ")?;
    present(out, &Campaign::parse(&after)?, false)?;
    Ok(ExitCode::SUCCESS)
}
