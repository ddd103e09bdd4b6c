//! `hongbao backup`: a copy of the embedded default that a later `hongbao restore` makes a data
//! directory of. It must never be there half: what has the backup's name is whole, synced and
//! audited.

use std::{
    fs::{self, DirBuilder, Permissions},
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use clap::Args;
use ledger::{
    SqliteLedger, SystemClock,
    sqlite::{FILE, SCHEMA},
};
use rules::Clock as _;

use super::{
    audit::audit_all,
    manifest::{Manifest, private, sync_folder},
};
use crate::secrets;

/// Back up a data directory while its server runs, or while none does.
///
/// The backup is a folder: the ledger as it was at one instant (with every win that was told before),
/// the secrets that the data directory keeps, and a manifest. It is as secret as the data directory.
/// Exits 1 when a campaign's books do not balance; the backup is kept then, too.
#[derive(Args)]
pub struct BackupArgs {
    /// The data directory.
    #[arg(
        long,
        visible_alias = "data",
        env = "HONGBAO_DATA_DIR",
        default_value = "data",
        value_name = "DIR"
    )]
    data_dir: PathBuf,
    /// The backup, a folder that does not exist yet; what it is to stand in is made.
    #[arg(long, value_name = "FOLDER")]
    to: PathBuf,
}

/// Backs up, and says what was.
///
/// # Errors
/// When there is something at the backup's place, the ledger cannot be read, or the disk is full.
pub async fn run(args: BackupArgs) -> anyhow::Result<ExitCode> {
    let BackupArgs { data_dir, to } = args;
    let name = to.file_name().context("--to must name a folder")?;
    if fs::symlink_metadata(&to).is_ok() {
        bail!("{} is there already; nothing is written over", to.display());
    }
    let parent = match to.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(".unfinished");
    let unfinished = parent.join(hidden);
    let made = DirBuilder::new().mode(0o700).recursive(true).create(parent);
    made.with_context(|| format!("cannot make the folder {}", parent.display()))?;
    let made = DirBuilder::new().mode(0o700).create(&unfinished);
    made.with_context(|| {
        format!(
            "cannot make {} (what is left there of a backup that was cut off can be removed)",
            unfinished.display()
        )
    })?;
    let result = write(&data_dir, &unfinished).await;
    let done = match result {
        Ok(done) => done,
        Err(error) => {
            // What is told is why; what is left is nobody's backup.
            if let Err(left) = fs::remove_dir_all(&unfinished) {
                eprintln!("hongbao: {} is left: {left}", unfinished.display());
            }
            return Err(error);
        }
    };
    fs::rename(&unfinished, &to)
        .with_context(|| format!("cannot give the backup its name, {}", to.display()))?;
    sync_folder(parent)?;
    println!("backed up {} to {}", data_dir.display(), to.display());
    done.tell();
    Ok(match done.unbalanced {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// What was backed up.
struct Done {
    secrets: Vec<&'static str>,
    /// How many campaigns, unless they could not be audited.
    campaigns: Option<usize>,
    unbalanced: usize,
    schema: u32,
}

/// Writes a whole backup into the folder `to`.
async fn write(data_dir: &Path, to: &Path) -> anyhow::Result<Done> {
    // Before the copy begins: all that was told by then is in it.
    let made_at = SystemClock.now();
    let copy = to.join(FILE);
    let schema = SqliteLedger::back_up(data_dir, &copy).await;
    let schema = schema.with_context(|| format!("cannot back up {}", data_dir.display()))?;
    fs::set_permissions(&copy, Permissions::from_mode(0o600))?;
    let mut kept = Vec::new();
    for name in secrets::KEPT {
        if let Some(secret) = read_if_there(&data_dir.join(name))? {
            let mut file = private(&to.join(name), true)?;
            std::io::Write::write_all(&mut file, &secret)?;
            file.sync_all()?;
            kept.push(name);
        }
    }
    let mut done = Done {
        secrets: kept.clone(),
        campaigns: None,
        unbalanced: 0,
        schema,
    };
    if schema == SCHEMA {
        let audited = audit_all(to).await.context("cannot audit the backup")?;
        for campaign in &audited.unbalanced {
            println!("NOT BALANCED: {campaign}; `hongbao audit` says more");
        }
        done.campaigns = Some(audited.campaigns);
        done.unbalanced = audited.unbalanced.len();
        // What opening it has left; a backup is opened by nobody.
        for left in ["lock", "hongbao.db-wal", "hongbao.db-shm"] {
            match fs::remove_file(to.join(left)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot remove {left}"));
                }
                _ => {}
            }
        }
    }
    fs::File::open(&copy)?.sync_all()?;
    let names: Vec<_> = [FILE].into_iter().chain(kept).collect();
    Manifest::write(to, &names, schema, made_at)?;
    sync_folder(to)?;
    Ok(done)
}

fn read_if_there(path: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

impl Done {
    fn tell(&self) {
        match (self.campaigns, self.unbalanced) {
            (None, _) => println!(
                "not audited: its schema {} is of an earlier version, which a start migrates",
                self.schema
            ),
            (Some(campaigns), 0) => println!("audited: {campaigns} campaigns, all balanced"),
            (Some(campaigns), wrong) => {
                println!("audited: {campaigns} campaigns, {wrong} NOT BALANCED");
            }
        }
        for name in secrets::KEPT {
            if !self.secrets.contains(&name) {
                println!("{name} is not kept there: whoever told it must keep it");
            }
        }
    }
}
