//! What a backup says of itself: which files, of what content. A copy that lost something on its
//! way is found out before it is put to use.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use anyhow::{Context as _, bail};
use aws_lc_rs::digest;
use rules::Timestamp;
use serde::{Deserialize, Serialize};

use crate::secrets;

/// The manifest's own name.
const NAME: &str = "backup.json";
/// What the manifest looks like; a later one is refused.
const FORMAT: u32 = 1;
/// Bytes read at once.
const CHUNK: usize = 1 << 16;

/// What a backup says of itself.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    format: u32,
    /// The version of `hongbao` that made it.
    made_by: String,
    /// The instant that it holds, or a little before.
    pub(super) made_at: Timestamp,
    /// The ledger's schema.
    pub(super) schema: u32,
    pub(super) files: Vec<Entry>,
}

/// One file of a backup.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) name: String,
    bytes: u64,
    sha256: String,
}

impl Manifest {
    /// Reads the files `names` of a finished backup in `folder`, and puts the manifest beside them.
    pub(super) fn write(
        folder: &Path,
        names: &[&str],
        schema: u32,
        made_at: Timestamp,
    ) -> anyhow::Result<()> {
        let files = names.iter().map(|&name| {
            let (bytes, sha256) = read(&folder.join(name), &mut io::sink())?;
            Ok(Entry {
                name: name.to_owned(),
                bytes,
                sha256,
            })
        });
        let manifest = Self {
            format: FORMAT,
            made_by: env!("CARGO_PKG_VERSION").to_owned(),
            made_at,
            schema,
            files: files.collect::<anyhow::Result<_>>()?,
        };
        let mut file = private(&folder.join(NAME), true)?;
        serde_json::to_writer_pretty(&mut file, &manifest)?;
        writeln!(file)?;
        file.sync_all()?;
        Ok(())
    }

    /// The manifest of the backup in `folder`.
    pub(super) fn of(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join(NAME);
        let text = fs::read(&path).with_context(|| {
            format!("{} is no whole backup: it has no {NAME}", folder.display())
        })?;
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let unreadable = || format!("{} cannot be understood", path.display());
        let Format { format } = serde_json::from_slice(&text).with_context(unreadable)?;
        if format > FORMAT {
            bail!("the backup was made by a later version of hongbao: use that one");
        }
        let manifest: Self = serde_json::from_slice(&text).with_context(unreadable)?;
        for Entry { name, .. } in &manifest.files {
            let known = name == ledger::sqlite::FILE || secrets::KEPT.contains(&&**name);
            if !known {
                bail!("the backup has a file that no backup has: {name}");
            }
        }
        if !manifest
            .files
            .iter()
            .any(|it| it.name == ledger::sqlite::FILE)
        {
            bail!("the backup holds no ledger");
        }
        Ok(manifest)
    }
}

impl Entry {
    /// Copies this file of the backup `from` to `to`, for the owner alone and on disk when this
    /// returns; what was copied is what was backed up.
    pub(super) fn copy(&self, from: &Path, to: &Path) -> anyhow::Result<()> {
        let mut copy = private(to, false)?;
        let found = read(&from.join(&self.name), &mut copy)?;
        if found != (self.bytes, self.sha256.clone()) {
            bail!(
                "{} is not what was backed up: it has changed since, or was not copied whole",
                from.join(&self.name).display()
            );
        }
        copy.sync_all()?;
        Ok(())
    }
}

/// Reads a file to its end into `copy`; gives its length and the SHA-256 of its content.
fn read(path: &Path, copy: &mut impl io::Write) -> anyhow::Result<(u64, String)> {
    let cannot = || format!("cannot read {}", path.display());
    let mut file = File::open(path).with_context(cannot)?;
    let mut digest = digest::Context::new(&digest::SHA256);
    let mut chunk = vec![0; CHUNK];
    let mut bytes = 0;
    loop {
        let read = file.read(&mut chunk).with_context(cannot)?;
        if read == 0 {
            break;
        }
        digest.update(&chunk[..read]);
        copy.write_all(&chunk[..read])
            .with_context(|| format!("cannot copy {}", path.display()))?;
        bytes += read as u64;
    }
    Ok((bytes, hex::encode(digest.finish())))
}

/// A file that only its owner may read; a new one, or one to be written over.
pub(super) fn private(path: &Path, new: bool) -> anyhow::Result<File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).mode(0o600);
    match new {
        true => options.create_new(true),
        false => options.create(true).truncate(true),
    };
    let file = options.open(path);
    file.with_context(|| format!("cannot write {}", path.display()))
}

/// Brings what a folder holds, by name, to the disk.
pub(super) fn sync_folder(path: &Path) -> anyhow::Result<()> {
    let synced = File::open(path).and_then(|folder| folder.sync_all());
    synced.with_context(|| format!("cannot sync {}", path.display()))
}
