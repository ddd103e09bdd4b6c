//! Secrets: told, read from a file, or made once and kept in the data directory.

use std::{fs, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::Path};

use anyhow::{Context as _, bail};
use services::random::{Random, SystemRandom};

use crate::config::Settings;

/// The least bytes of a secret.
const SECRET_BYTES_MIN: usize = 32;

/// The secrets of a service.
pub struct Secrets {
    /// Signs participants' tokens, and keys what is derived from their codes.
    pub token_secret: String,
    /// What services show each other.
    pub service_key: String,
    /// An API key with the organiser's rights.
    pub organiser_key: String,
}

impl Secrets {
    /// The secrets that `settings` tell; those they do not tell are made and kept.
    ///
    /// # Errors
    /// When one is too short, or a file cannot be read or written.
    pub fn load(settings: &Settings) -> anyhow::Result<Self> {
        let dir = settings.data_dir();
        let one = |name: &str, told: &Option<String>, file: &Option<std::path::PathBuf>, kept| {
            if told.is_some() && file.is_some() {
                bail!("{name} and {name}_FILE are both set; set one");
            }
            let secret = match (told, file) {
                (Some(secret), _) => secret.clone(),
                (None, Some(path)) => read(path)?,
                (None, None) => kept_in(&dir.join(kept))?,
            };
            long_enough(name, secret)
        };
        Ok(Self {
            token_secret: one(
                "HONGBAO_TOKEN_SECRET",
                &settings.token_secret,
                &settings.token_secret_file,
                "token.secret",
            )?,
            service_key: one(
                "HONGBAO_SERVICE_KEY",
                &settings.service_key,
                &settings.service_key_file,
                "service.key",
            )?,
            organiser_key: one(
                "HONGBAO_ORGANISER_KEY",
                &settings.organiser_key,
                &settings.organiser_key_file,
                "organiser.key",
            )?,
        })
    }
}

fn long_enough(name: &str, secret: String) -> anyhow::Result<String> {
    if secret.len() < SECRET_BYTES_MIN {
        bail!(
            "{name} has {} bytes and must have at least {SECRET_BYTES_MIN}; here is a fresh one: {}",
            secret.len(),
            fresh(),
        );
    }
    Ok(secret)
}

fn fresh() -> String {
    let mut bytes = [0; 32];
    SystemRandom.fill(&mut bytes);
    hex::encode(bytes)
}

fn read(path: &Path) -> anyhow::Result<String> {
    let text = fs::read_to_string(path)
        .with_context(|| format!("cannot read the secret in {}", path.display()))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// The secret in the file at `path`, made when there is none.
fn kept_in(path: &Path) -> anyhow::Result<String> {
    if path.exists() {
        return read(path);
    }
    let secret = fresh();
    // Written beside and renamed, so that a crash leaves a whole secret or none.
    let beside = path.with_extension("new");
    let written = || -> std::io::Result<()> {
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        let mut options = fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&beside)?;
        writeln!(file, "{secret}")?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    written().with_context(|| format!("cannot keep a secret in {}", path.display()))?;
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn missing_secrets_are_made_once_for_the_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings {
            data_dir: Some(dir.path().join("data")),
            ..Settings::default()
        };
        let first = Secrets::load(&settings).unwrap();
        let again = Secrets::load(&settings).unwrap();
        assert_eq!(first.token_secret, again.token_secret);
        assert_ne!(first.token_secret, first.organiser_key);
        let mode = fs::metadata(dir.path().join("data/token.secret"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn short_secrets_are_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings {
            data_dir: Some(dir.path().into()),
            service_key: Some("short".into()),
            ..Settings::default()
        };
        let error = Secrets::load(&settings)
            .err()
            .expect("too short")
            .to_string();
        assert!(
            error.contains("HONGBAO_SERVICE_KEY") && error.contains("32"),
            "{error}"
        );
    }
}
