//! `hongbao campaign …`: create, watch and steer campaigns on a server. One file per subcommand.

mod audit;
mod create;
mod list;
mod presented;
mod show;
mod steer;
mod top_up;
mod winners;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use rules::CampaignId;

use super::{quiet_pipe, server::ServerArgs, show::Out};

/// What to do with campaigns. Amounts are in minor units of the currency: fen, cents.
#[derive(Subcommand)]
pub enum Command {
    /// Create a campaign: how many packets, how they are split, when they come, who may win.
    Create(Box<create::CreateArgs>),
    /// List campaigns, the newest first.
    List(list::ListArgs),
    /// Show a campaign: its terms, its waves and how it stands now.
    Show(OneArgs),
    /// Pause a campaign: nobody wins until it is resumed.
    Pause(OneArgs),
    /// Resume a paused campaign; the waves to come move on by the length of the pause.
    Resume(OneArgs),
    /// Close a campaign for good and refund what is left, once.
    Close(OneArgs),
    /// Add packets to a campaign, as one more wave that opens at once.
    TopUp(top_up::TopUpArgs),
    /// Show who won what, or export it as CSV.
    Winners(winners::WinnersArgs),
    /// Audit a campaign's books; exits 1 when they do not balance.
    Audit(OneArgs),
}

/// One campaign on a server.
#[derive(Args, Clone)]
pub struct OneArgs {
    /// The campaign's id.
    #[arg(value_name = "ID")]
    id: CampaignId,
    /// The server's answer as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

impl OneArgs {
    /// The path of this campaign with `below` behind it.
    fn path(&self, below: &str) -> String {
        path(self.id, below)
    }
}

/// The path of campaign `id` with `below` behind it.
fn path(id: CampaignId, below: &str) -> String {
    format!("/monitor/api/campaigns/{id}{below}")
}

/// Does what `command` says and writes the result to standard output.
///
/// # Errors
/// When the server cannot be reached or refuses, or the result cannot be written.
pub async fn run(command: Command) -> anyhow::Result<ExitCode> {
    quiet_pipe(execute(command, &mut std::io::stdout()).await)
}

/// The same, with the result written to `out`.
async fn execute(command: Command, out: Out<'_>) -> anyhow::Result<ExitCode> {
    match command {
        Command::Create(args) => create::run(*args, out).await,
        Command::List(args) => list::run(args, out).await,
        Command::Show(args) => show::run(args, out).await,
        Command::Pause(args) => steer::run(steer::Verb::Pause, args, out).await,
        Command::Resume(args) => steer::run(steer::Verb::Resume, args, out).await,
        Command::Close(args) => steer::run(steer::Verb::Close, args, out).await,
        Command::TopUp(args) => top_up::run(args, out).await,
        Command::Winners(args) => winners::run(args, out).await,
        Command::Audit(args) => audit::run(args, out).await,
    }
}

#[cfg(test)]
mod tests;
