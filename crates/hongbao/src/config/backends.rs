//! Which backends the settings name, and how they are named to people: never with a password.

use std::{fmt, path::PathBuf};

use anyhow::{Context as _, bail};

use super::{AccountDown, MnsAt, Settings};

/// MySQL's port, when `DB_PORT` says nothing.
const MYSQL_PORT: u16 = 3306;

/// Where the ledger is.
#[derive(Clone, PartialEq, Eq)]
pub enum Database {
    /// In a file, for one process.
    Sqlite(PathBuf),
    /// On a server, by its URL.
    Server(String),
}

/// Where the queue is.
#[derive(Clone, PartialEq, Eq)]
pub enum QueueAt {
    /// In this process.
    Memory,
    /// On Redis, by its URL.
    Redis(String),
    /// On MNS.
    Mns(MnsAt),
}

/// Where it is remembered who has tried.
#[derive(Clone, PartialEq, Eq)]
pub enum AttemptsAt {
    /// In this process.
    Memory,
    /// On Redis, by its URL.
    Redis(String),
    /// In the ledger's database, on a server.
    Ledger,
}

/// `url` without what stands between the user's name and the `@`.
#[must_use]
pub fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return "(not a URL)".into();
    };
    // Parameters may hold secrets, too.
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    match rest.rsplit_once('@') {
        Some((who, place)) => {
            let user = who.split(':').next().unwrap_or_default();
            format!("{scheme}://{user}@{place}")
        }
        None => format!("{scheme}://{rest}"),
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite://{}", path.display()),
            Self::Server(url) => f.write_str(&without_password(url)),
        }
    }
}

impl fmt::Display for QueueAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory:"),
            Self::Redis(url) => f.write_str(&without_password(url)),
            Self::Mns(mns) => f.write_str(&without_password(&mns.url)),
        }
    }
}

impl fmt::Display for AttemptsAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory:"),
            Self::Ledger => f.write_str("ledger:"),
            Self::Redis(url) => f.write_str(&without_password(url)),
        }
    }
}

fn is_mns(url: &str) -> bool {
    let schemes = ["mns://", "https://", "http://"];
    let host = schemes.iter().find_map(|scheme| url.strip_prefix(scheme));
    host.is_some_and(|host| !host.is_empty())
}

fn is_redis(url: &str) -> bool {
    let schemes = [
        "redis://",
        "rediss://",
        "redis+cluster://",
        "rediss+cluster://",
    ];
    schemes.iter().any(|scheme| url.starts_with(scheme))
}

/// `url`, which `variable` holds.
fn redis_at(variable: &str, url: &str) -> anyhow::Result<String> {
    let understood = queue::redis::understands(url);
    understood.with_context(|| format!("{variable} {}", without_password(url)))?;
    Ok(url.to_owned())
}

impl Settings {
    /// Where the ledger is.
    ///
    /// # Errors
    /// When it is named twice, or not by a URL that is known.
    pub fn database(&self) -> anyhow::Result<Database> {
        let Some(url) = &self.database_url else {
            return Ok(match self.db_url()? {
                Some(url) => Database::Server(url),
                None => Database::Sqlite(self.data_dir().to_owned()),
            });
        };
        if self.db_host.is_some() {
            bail!("HONGBAO_DATABASE_URL and DB_HOST are both set; set one");
        }
        match url.split_once("://") {
            Some(("sqlite", path)) if !path.is_empty() => Ok(Database::Sqlite(path.into())),
            Some(("mysql" | "mariadb" | "postgres" | "postgresql", rest)) if !rest.is_empty() => {
                Ok(Database::Server(url.clone()))
            }
            _ => bail!(
                "HONGBAO_DATABASE_URL must be sqlite://PATH, mysql://USER:PASSWORD@HOST/NAME or \
                 postgres://USER:PASSWORD@HOST/NAME, and is `{}`",
                without_password(url)
            ),
        }
    }

    /// The URL that the mission's names of a MySQL database make.
    fn db_url(&self) -> anyhow::Result<Option<String>> {
        let Some(host) = self.db_host.as_deref() else {
            let others = [
                ("DB_NAME", self.db_name.is_some()),
                ("DB_USER", self.db_user.is_some()),
                ("DB_PASSWD", self.db_passwd.is_some()),
                ("DB_PASSWD_FILE", self.db_passwd_file.is_some()),
                ("DB_PORT", self.db_port.is_some()),
            ];
            if let Some((name, _)) = others.into_iter().find(|(_, is_set)| *is_set) {
                // Else it would go on with a file of its own, and nobody would notice.
                bail!("{name} is set, and DB_HOST is not: set both, or neither");
            }
            return Ok(None);
        };
        let (Some(name), Some(user)) = (&self.db_name, &self.db_user) else {
            bail!("DB_HOST needs DB_NAME and DB_USER beside it");
        };
        let password = match (&self.db_passwd, &self.db_passwd_file) {
            (Some(_), Some(_)) => bail!("DB_PASSWD and DB_PASSWD_FILE are both set; set one"),
            (Some(password), None) => password.clone(),
            (None, Some(path)) => {
                let text = std::fs::read_to_string(path).with_context(|| {
                    format!("cannot read the database's password in {}", path.display())
                })?;
                text.trim_end_matches(['\r', '\n']).to_owned()
            }
            (None, None) => String::new(),
        };
        let port = self.db_port.unwrap_or(MYSQL_PORT);
        let host = if host.contains(':') && !host.starts_with('[') {
            format!("[{host}]")
        } else {
            host.to_owned()
        };
        let (user, password, name) = (encoded(user), encoded(&password), encoded(name));
        Ok(Some(format!(
            "mysql://{user}:{password}@{host}:{port}/{name}"
        )))
    }

    /// Where the queue is.
    ///
    /// # Errors
    /// When it is named twice, is none that this version has, or misses its access key.
    pub fn queue(&self) -> anyhow::Result<QueueAt> {
        let mns_url = self.mns_url.as_deref();
        match (self.queue_url.as_deref(), mns_url) {
            (Some(_), Some(_)) => bail!("HONGBAO_QUEUE_URL and MNS_URL are both set; set one"),
            (None, Some(url)) if is_mns(url) => Ok(QueueAt::Mns(self.mns_at(url)?)),
            (None, Some(url)) => bail!(
                "MNS_URL must be https://ACCOUNT.mns.REGION.aliyuncs.com, and is `{}`",
                without_password(url)
            ),
            (None | Some("memory:"), None) => Ok(QueueAt::Memory),
            (Some(url), None) if is_redis(url) => {
                Ok(QueueAt::Redis(redis_at("HONGBAO_QUEUE_URL", url)?))
            }
            (Some(url), None) if is_mns(url) => Ok(QueueAt::Mns(self.mns_at(url)?)),
            (Some(url), None) => bail!(
                "HONGBAO_QUEUE_URL must be memory:, redis://HOST:PORT, \
                 redis+cluster://HOST:PORT,HOST:PORT or mns://HOST, and is `{}`",
                without_password(url)
            ),
        }
    }

    /// Where it is remembered who has tried. By default, for a process that is one of several
    /// or shares a queue: where the queue is, or in the ledger's database.
    ///
    /// # Errors
    /// When it is nowhere that this version knows.
    pub fn attempts(&self, one_of_several: bool) -> anyhow::Result<AttemptsAt> {
        match self.attempts_url.as_deref() {
            None => {
                let on_server = matches!(self.database()?, Database::Server(_));
                Ok(match self.queue()? {
                    QueueAt::Redis(url) => AttemptsAt::Redis(url),
                    // MNS carries messages and remembers nothing else.
                    QueueAt::Mns(_) if on_server => AttemptsAt::Ledger,
                    QueueAt::Memory if on_server && one_of_several => AttemptsAt::Ledger,
                    QueueAt::Memory | QueueAt::Mns(_) => AttemptsAt::Memory,
                })
            }
            Some("memory:") => Ok(AttemptsAt::Memory),
            Some("ledger:") => Ok(AttemptsAt::Ledger),
            Some(url) if is_redis(url) => {
                Ok(AttemptsAt::Redis(redis_at("HONGBAO_ATTEMPTS_URL", url)?))
            }
            Some(url) => bail!(
                "HONGBAO_ATTEMPTS_URL must be ledger:, memory:, redis://HOST:PORT or \
                 redis+cluster://HOST:PORT,HOST:PORT, and is `{}`",
                without_password(url)
            ),
        }
    }

    /// Where the account service is, when it is another process.
    ///
    /// # Errors
    /// When it is named twice.
    pub fn account(&self) -> anyhow::Result<Option<&str>> {
        match (&self.account_url, &self.account_check_ip) {
            (Some(_), Some(_)) => {
                bail!("HONGBAO_ACCOUNT_URL and ACCOUNT_CHECK_IP are both set; set one")
            }
            (Some(url), None) | (None, Some(url)) => Ok(Some(url)),
            (None, None) => Ok(None),
        }
    }

    /// What a grab is when the account service cannot be reached.
    #[must_use]
    pub fn account_down(&self) -> AccountDown {
        self.account_down.unwrap_or(AccountDown::Refuse)
    }
}

/// `text` as it stands in a URL.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mission() -> Settings {
        Settings {
            db_host: Some("rds.local".into()),
            db_name: Some("hong bao".into()),
            db_user: Some("us@er".into()),
            db_passwd: Some("p/a:s?s".into()),
            ..Settings::default()
        }
    }

    fn database(settings: &Settings) -> Result<String, String> {
        match settings.database() {
            Ok(Database::Server(url)) => Ok(url),
            Ok(database) => Ok(database.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn the_mission_s_names_make_a_url() {
        let url = "mysql://us%40er:p%2Fa%3As%3Fs@rds.local:3306/hong%20bao";
        assert_eq!(database(&mission()).unwrap(), url);
        let with_port = Settings {
            db_port: Some(3307),
            db_host: Some("::1".into()),
            ..mission()
        };
        assert!(database(&with_port).unwrap().contains("@[::1]:3307/"));
        let nameless = Settings {
            db_name: None,
            ..mission()
        };
        assert!(database(&nameless).unwrap_err().contains("DB_NAME"));
        let twice = Settings {
            database_url: Some("mysql://a/b".into()),
            ..mission()
        };
        assert!(database(&twice).unwrap_err().contains("DB_HOST"));
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("password");
        std::fs::write(&file, "from a file\n").unwrap();
        let from_file = Settings {
            db_passwd: None,
            db_passwd_file: Some(file.clone()),
            ..mission()
        };
        assert!(database(&from_file).unwrap().contains(":from%20a%20file@"));
        let both = Settings {
            db_passwd_file: Some(file),
            ..mission()
        };
        assert!(database(&both).unwrap_err().contains("DB_PASSWD_FILE"));
    }

    #[test]
    fn urls_of_each_kind_are_known_and_others_refused_without_their_password() {
        let with = |url: &str| Settings {
            database_url: Some(url.into()),
            queue_url: Some(url.into()),
            attempts_url: Some(url.into()),
            ..Settings::default()
        };
        assert_eq!(database(&Settings::default()).unwrap(), "sqlite://data");
        assert_eq!(
            database(&with("sqlite://x/y.db")).unwrap(),
            "sqlite://x/y.db"
        );
        for url in [
            "mysql://h/d",
            "mariadb://h/d",
            "postgres://h/d",
            "postgresql://h/d",
        ] {
            assert_eq!(database(&with(url)).unwrap(), url);
        }
        for url in [
            "redis://h",
            "rediss://h",
            "redis+cluster://a,b",
            "rediss+cluster://a",
        ] {
            let settings = with(url);
            assert!(
                settings.queue().unwrap() == QueueAt::Redis(url.into()),
                "{url}"
            );
            assert!(
                settings.attempts(true).unwrap() == AttemptsAt::Redis(url.into()),
                "{url}"
            );
        }
        for url in [
            "oracle://bob:sesame@h/d?key=sesame",
            "sesame",
            "sqlite://",
            "redis://:sesame@h:port",
        ] {
            let settings = with(url);
            for refused in [
                database(&settings).unwrap_err(),
                settings.queue().err().unwrap().to_string(),
                settings.attempts(true).err().unwrap().to_string(),
            ] {
                assert!(!refused.contains("sesame"), "{refused}");
            }
        }
    }

    #[test]
    fn attempts_are_where_the_queue_is_unless_said_otherwise() {
        let settings = Settings {
            queue_url: Some("redis://h".into()),
            ..Settings::default()
        };
        assert!(settings.attempts(true).unwrap() == AttemptsAt::Redis("redis://h".into()));
        assert!(Settings::default().attempts(false).unwrap() == AttemptsAt::Memory);
        for (one_of_several, at) in [(true, AttemptsAt::Ledger), (false, AttemptsAt::Memory)] {
            assert!(mission().attempts(one_of_several).unwrap() == at);
        }
        let apart = Settings {
            attempts_url: Some("memory:".into()),
            ..settings
        };
        assert!(apart.attempts(true).unwrap() == AttemptsAt::Memory);
    }

    #[test]
    fn what_is_shown_of_a_url_has_no_password() {
        for (url, shown) in [
            ("mysql://bob:sesame@h:1/d?ssl=x", "mysql://bob@h:1/d"),
            ("redis://:sesame@h:1/0", "redis://@h:1/0"),
            ("redis://h:1", "redis://h:1"),
            ("mysql://bob:p@ss@h/d", "mysql://bob@h/d"),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }

    #[test]
    fn the_account_service_is_named_once() {
        let named = |url: Option<&str>, ip: Option<&str>| Settings {
            account_url: url.map(Into::into),
            account_check_ip: ip.map(Into::into),
            ..Settings::default()
        };
        assert_eq!(named(None, None).account().unwrap(), None);
        assert_eq!(
            named(Some("http://a"), None).account().unwrap(),
            Some("http://a")
        );
        assert_eq!(named(None, Some("a:81")).account().unwrap(), Some("a:81"));
        assert!(named(Some("a"), Some("a")).account().is_err());
    }
}
