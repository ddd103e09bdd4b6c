//! Secrets: told, read from a file, or made once: kept in the data directory by a process that is
//! all there is, in the ledger by those that share one.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use ledger::ServerLedger;
use services::random::{Random, SystemRandom};

use crate::config::Settings;

/// The least bytes of a secret.
const SECRET_BYTES_MIN: usize = 32;
/// The secrets, by the variables that tell them.
const TOKEN_SECRET: &str = "HONGBAO_TOKEN_SECRET";
const SERVICE_KEY: &str = "HONGBAO_SERVICE_KEY";
const ORGANISER_KEY: &str = "HONGBAO_ORGANISER_KEY";
/// The files in the data directory that keep secrets which nobody told: participants' ids and
/// tokens hang on the first.
pub const KEPT: [&str; 3] = ["token.secret", "service.key", "organiser.key"];

/// The secrets of a service.
pub struct Secrets {
    /// Signs participants' tokens, and keys what is derived from their codes.
    pub token_secret: String,
    /// What services show each other, where this one talks with another.
    pub service_key: Option<String>,
    /// An API key with the organiser's rights, where this one serves organisers.
    pub organiser_key: Option<String>,
}

/// Which secrets a service works with, besides the token secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needed {
    /// Whether [`Secrets::service_key`] is among them.
    pub service_key: bool,
    /// Whether [`Secrets::organiser_key`] is among them.
    pub organiser_key: bool,
}

/// The secrets that a service was told, or has kept from earlier.
#[derive(Default)]
pub struct Told {
    token_secret: Option<String>,
    service_key: Option<String>,
    organiser_key: Option<String>,
}

/// Where a secret may come from.
struct Source<'a> {
    name: &'a str,
    told: &'a Option<String>,
    file: &'a Option<PathBuf>,
}

impl Source<'_> {
    /// What was told, in words or in a file.
    fn told(&self) -> anyhow::Result<Option<String>> {
        let name = self.name;
        let secret = match (self.told, self.file) {
            (Some(_), Some(_)) => bail!("{name} and {name}_FILE are both set; set one"),
            (Some(secret), None) => secret.clone(),
            (None, Some(path)) => read(path)?,
            (None, None) => return Ok(None),
        };
        long_enough(name, secret).map(Some)
    }

    /// What was told, or the secret that is kept at `path`, made when there is none.
    fn told_or_kept(&self, path: &Path) -> anyhow::Result<String> {
        match self.told()? {
            Some(secret) => Ok(secret),
            None => long_enough(self.name, kept_in(path)?),
        }
    }

    /// What was told, or what an earlier start has kept at `path`; none is made.
    fn told_or_found(&self, path: &Path) -> anyhow::Result<Option<String>> {
        match self.told()? {
            None if path.exists() => long_enough(self.name, read(path)?).map(Some),
            told => Ok(told),
        }
    }
}

impl Secrets {
    /// All secrets; those that `settings` do not tell are made and kept. For a process that is
    /// all there is.
    ///
    /// # Errors
    /// When one is too short, or a file cannot be read or written.
    pub fn load(settings: &Settings) -> anyhow::Result<Self> {
        let dir = settings.data_dir();
        let [token, service, organiser] = sources(settings);
        let [token_kept, service_kept, organiser_kept] = KEPT.map(|name| dir.join(name));
        Ok(Self {
            token_secret: token.told_or_kept(&token_kept)?,
            service_key: Some(service.told_or_kept(&service_kept)?),
            organiser_key: Some(organiser.told_or_kept(&organiser_kept)?),
        })
    }

    /// `told`, and what is missing of it from the ledger, where whoever needs a secret first makes
    /// it. For processes that share that ledger.
    ///
    /// # Errors
    /// When the ledger does not answer, or has one that is too short.
    pub async fn shared(told: Told, needed: Needed, ledger: &ServerLedger) -> anyhow::Result<Self> {
        let token_secret = told_or_shared(TOKEN_SECRET, told.token_secret, ledger).await?;
        let service_key = match needed.service_key {
            true => Some(told_or_shared(SERVICE_KEY, told.service_key, ledger).await?),
            false => None,
        };
        if needed.organiser_key && told.organiser_key.is_none() {
            tracing::info!("there is no {ORGANISER_KEY}: organisers log in with a password");
        }
        Ok(Self {
            token_secret,
            service_key,
            organiser_key: told.organiser_key,
        })
    }
}

impl Told {
    /// What a service was told of what it needs, which is one of several.
    ///
    /// # Errors
    /// When one is told twice or too short, or a file cannot be read.
    pub fn of(settings: &Settings, needed: Needed) -> anyhow::Result<Self> {
        let [token, service, organiser] = sources(settings);
        let told = |needed, source: Source<'_>| match needed {
            true => source.told(),
            false => Ok(None),
        };
        Ok(Self {
            token_secret: token.told()?,
            service_key: told(needed.service_key, service)?,
            organiser_key: told(needed.organiser_key, organiser)?,
        })
    }

    /// What a process with all services has on a ledger that others share: what it was told, or
    /// keeps in its data directory from an earlier start. The organiser's key is made there.
    ///
    /// # Errors
    /// When one is told twice or too short, or a file cannot be read or written.
    pub fn or_kept(settings: &Settings) -> anyhow::Result<Self> {
        let dir = settings.data_dir();
        let [token, service, organiser] = sources(settings);
        let [token_kept, service_kept, organiser_kept] = KEPT.map(|name| dir.join(name));
        Ok(Self {
            token_secret: token.told_or_found(&token_kept)?,
            service_key: service.told_or_found(&service_kept)?,
            organiser_key: Some(organiser.told_or_kept(&organiser_kept)?),
        })
    }
}

/// The secrets that are there already.
pub struct Found {
    /// The service key.
    pub service_key: Option<String>,
    /// Whether the first start has none to draw.
    pub complete: bool,
}

impl Found {
    /// What of `needed` was told, or is kept in `dir` or in `ledger`; none is made.
    ///
    /// # Errors
    /// When one is told twice or too short, a file cannot be read, or the ledger does not answer.
    pub async fn look(
        settings: &Settings,
        needed: Needed,
        dir: Option<&Path>,
        ledger: Option<&ServerLedger>,
    ) -> anyhow::Result<Self> {
        let [token, service, organiser] = sources(settings);
        let [token_kept, service_kept, organiser_kept] =
            KEPT.map(|name| dir.map(|dir| dir.join(name)));
        let token_secret = found(&token, token_kept, ledger).await?;
        let mut service_key = None;
        if needed.service_key {
            service_key = found(&service, service_kept, ledger).await?;
        }
        let mut organiser_key = None;
        if needed.organiser_key {
            organiser_key = found(&organiser, organiser_kept, None).await?;
        }
        // Without a directory to keep it in there is none, and organisers log in with a password.
        let draws_organiser_key = needed.organiser_key && dir.is_some();
        Ok(Self {
            complete: token_secret.is_some()
                && (service_key.is_some() || !needed.service_key)
                && (organiser_key.is_some() || !draws_organiser_key),
            service_key,
        })
    }
}

async fn found(
    source: &Source<'_>,
    kept: Option<PathBuf>,
    ledger: Option<&ServerLedger>,
) -> anyhow::Result<Option<String>> {
    let found = match kept {
        Some(kept) => source.told_or_found(&kept)?,
        None => source.told()?,
    };
    let (None, Some(ledger)) = (&found, ledger) else {
        return Ok(found);
    };
    let made = ledger.secret_if_made(source.name).await?;
    let made = made.map(|secret| long_enough(source.name, secret));
    made.transpose().context("in the ledger's table `secrets`")
}

/// What was told; else the ledger's secret of this name.
async fn told_or_shared(
    name: &str,
    told: Option<String>,
    ledger: &ServerLedger,
) -> anyhow::Result<String> {
    let Some(told) = told else {
        let secret = ledger.secret(name, &fresh()).await;
        let secret =
            secret.with_context(|| format!("{name} is not set, and the ledger has none"))?;
        match secret.is_new {
            true => tracing::info!("{name} is not set: one was drawn and is kept in the ledger"),
            false => tracing::info!("{name} is not set: it is the ledger's"),
        }
        // Somebody may have written to the table by hand.
        return long_enough(name, secret.value).context("in the ledger's table `secrets`");
    };
    let made = ledger.secret_if_made(name).await;
    if made.is_ok_and(|made| made.is_some_and(|made| made != told)) {
        tracing::warn!(
            "{name} is set, and the ledger has another, which processes have for which it is not \
             set: set it for all of them or for none"
        );
    }
    Ok(told)
}

/// The token secret, the service key, the organiser key.
fn sources(settings: &Settings) -> [Source<'_>; 3] {
    let source = |name, told, file| Source { name, told, file };
    [
        source(
            TOKEN_SECRET,
            &settings.token_secret,
            &settings.token_secret_file,
        ),
        source(
            SERVICE_KEY,
            &settings.service_key,
            &settings.service_key_file,
        ),
        source(
            ORGANISER_KEY,
            &settings.organiser_key,
            &settings.organiser_key_file,
        ),
    ]
}

fn long_enough(name: &str, secret: String) -> anyhow::Result<String> {
    if secret.len() < SECRET_BYTES_MIN {
        bail!(
            "{name} has {} bytes and must have at least {SECRET_BYTES_MIN}; \
             `openssl rand -hex 32` makes one",
            secret.len(),
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
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(dir)?;
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
        assert_ne!(Some(first.token_secret), first.organiser_key);
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

    #[test]
    fn one_of_several_services_makes_none_and_refuses_bad_ones() {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = Settings {
            data_dir: Some(dir.path().into()),
            service_key: Some("short".into()),
            ..Settings::default()
        };
        let needed = |service_key| Needed {
            service_key,
            organiser_key: false,
        };
        let refused = Told::of(&settings, needed(true)).err().unwrap();
        assert!(refused.to_string().contains("HONGBAO_SERVICE_KEY"));
        let told = Told::of(&settings, needed(false)).expect("it is not needed");
        assert_eq!((told.token_secret, told.service_key), (None, None));
        settings.token_secret = Some("t".repeat(32));
        settings.service_key = Some("s".repeat(32));
        let told = Told::of(&settings, needed(true)).unwrap();
        assert_eq!(told.token_secret, settings.token_secret);
        assert_eq!(told.service_key, settings.service_key);
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            0,
            "nothing was made"
        );
    }

    #[test]
    fn on_a_shared_ledger_what_was_kept_before_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings {
            data_dir: Some(dir.path().into()),
            ..Settings::default()
        };
        let told = Told::or_kept(&settings).unwrap();
        assert_eq!((told.token_secret, told.service_key), (None, None));
        assert!(told.organiser_key.is_some());
        let alone = Secrets::load(&settings).unwrap();
        let told = Told::or_kept(&settings).unwrap();
        assert_eq!(told.token_secret, Some(alone.token_secret));
        assert_eq!(told.service_key, alone.service_key);
    }
}
