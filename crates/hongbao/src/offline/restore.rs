//! `hongbao restore`: makes a data directory of a backup. It must never leave one behind that a
//! server could take for whole: until everything is there the ledger has a name under which
//! nothing is opened, and its last step is one rename.

use std::{
    fs,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use clap::Args;
use ledger::{
    SqliteLedger,
    sqlite::{FILE, SCHEMA, UNFINISHED},
};

use super::{
    audit::audit_all,
    manifest::{Manifest, sync_folder},
};
use crate::secrets;

/// Make a data directory of a backup.
///
/// What was won after the backup was made is not in it: those packets would be given again. See
/// the access log for them before the campaigns go on. Run it as the user that serves.
#[derive(Args)]
pub struct RestoreArgs {
    /// The backup, a folder that `hongbao backup` has made.
    #[arg(long, value_name = "FOLDER")]
    from: PathBuf,
    /// The data directory: empty, or not there yet.
    #[arg(
        long,
        visible_alias = "data",
        env = "HONGBAO_DATA_DIR",
        default_value = "data",
        value_name = "DIR"
    )]
    data_dir: PathBuf,
}

/// Restores, and says what was.
///
/// # Errors
/// When the data directory holds anything, the backup is not whole, or a later version made it.
pub async fn run(args: RestoreArgs) -> anyhow::Result<ExitCode> {
    let RestoreArgs { from, data_dir } = args;
    let manifest = Manifest::of(&from)?;
    let schema = SqliteLedger::sound_copy(&from.join(FILE)).await;
    let schema = schema.with_context(|| format!("cannot restore {}", from.display()))?;
    let mut private = fs::DirBuilder::new();
    let made = private.recursive(true).mode(0o700).create(&data_dir);
    made.with_context(|| format!("cannot make {}", data_dir.display()))?;
    refuse_unless_empty(&data_dir)?;

    let ledger = data_dir.join(UNFINISHED);
    // First of all, so that nothing is opened from here on.
    let (first, others): (Vec<_>, Vec<_>) = manifest.files.iter().partition(|it| it.name == FILE);
    for file in first {
        file.copy(&from, &ledger)?;
        sync_folder(&data_dir)?;
    }
    for file in others {
        file.copy(&from, &data_dir.join(&file.name))?;
    }
    let mut unbalanced = 0;
    if schema == SCHEMA {
        let audited = audit_all(&ledger).await;
        let audited = audited.context("cannot audit what was restored")?;
        for campaign in &audited.unbalanced {
            println!("NOT BALANCED: {campaign}; `hongbao audit` says more");
        }
        unbalanced = audited.unbalanced.len();
        println!(
            "audited: {} campaigns, {} of them not ended",
            audited.campaigns, audited.not_ended
        );
    } else {
        println!(
            "not audited: its schema {schema} is of an earlier version, which a start migrates"
        );
    }
    sync_folder(&data_dir)?;
    fs::rename(&ledger, data_dir.join(FILE)).context("cannot give the ledger its name")?;
    sync_folder(&data_dir)?;
    println!(
        "restored {} to {}, as of {}",
        from.display(),
        data_dir.display(),
        manifest.made_at
    );
    println!("what was won after that is not in it: see the access log before campaigns go on");
    Ok(match unbalanced {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// Refuses a directory that holds anything but what an unfinished restore has left.
fn refuse_unless_empty(data_dir: &Path) -> anyhow::Result<()> {
    let mut names = Vec::new();
    for entry in
        fs::read_dir(data_dir).with_context(|| format!("cannot read {}", data_dir.display()))?
    {
        names.push(entry?.file_name());
    }
    // A file system of its own has this.
    names.retain(|name| name != "lost+found");
    let unfinished = names.iter().any(|name| name == UNFINISHED);
    let of_a_restore = |name: &std::ffi::OsString| {
        let name = name.to_string_lossy();
        // The ledger's file, SQLite's beside it, the lock of the audit, and secrets.
        name.starts_with(UNFINISHED) || name == "lock" || secrets::KEPT.contains(&&*name)
    };
    if names.is_empty() {
        return Ok(());
    }
    if unfinished && names.iter().all(of_a_restore) {
        // All of it, secrets too, may be of another backup. The ledger's file goes on marking the
        // directory until it is written over.
        for name in names.iter().filter(|name| *name != UNFINISHED) {
            fs::remove_file(data_dir.join(name))?;
        }
        return Ok(());
    }
    bail!(
        "{} is not empty: restore into a directory that is, or is not there yet",
        data_dir.display()
    );
}
