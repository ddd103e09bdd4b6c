//! What the settings say of the cloud: its message service, its log service, and the key that
//! calls them. The key's secret and token must never be shown.

use std::{fmt, time::Duration};

use anyhow::{Context as _, bail};

use super::Settings;

/// How long a grab node holds packets, when nothing else is said, in seconds.
const LEASE_SECONDS: u64 = 30;

/// The log store, when nothing else is said.
const LOGSTORE: &str = "redpacket-access";
/// The bounds of the names of projects and log stores, in characters.
const NAME_MIN: usize = 3;
const NAME_MAX: usize = 63;

/// An access key of the cloud.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessKey {
    /// Its id, which travels in the clear.
    pub id: String,
    /// What signs.
    pub secret: String,
    /// The security token that belongs to it, when it is a lent one.
    pub token: Option<String>,
}

/// The queue on MNS.
#[derive(Clone, PartialEq, Eq)]
pub struct MnsAt {
    /// The endpoint, without a slash at its end.
    pub url: String,
    /// Who calls it.
    pub key: AccessKey,
    /// The visibility timeout with which queues are made: as long as a grab node holds packets.
    pub visibility: Duration,
}

/// The log store on SLS that the access log is shipped to.
#[derive(Clone, PartialEq, Eq)]
pub struct SlsAt {
    /// The endpoint, without the project and without a slash at its end.
    pub endpoint: String,
    /// The project.
    pub project: String,
    /// The log store in it.
    pub logstore: String,
    /// The region, where requests are signed by version 4.
    pub region: Option<String>,
    /// Who calls it.
    pub key: AccessKey,
}

impl fmt::Display for SlsAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoint = super::without_password(&self.endpoint);
        write!(f, "{endpoint} {}/{}", self.project, self.logstore)
    }
}

/// `text`, when it can be a name of SLS.
fn name_of(variable: &str, text: &str, further: &str) -> anyhow::Result<String> {
    let usual = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let fits = (NAME_MIN..=NAME_MAX).contains(&text.len())
        && text.starts_with(usual)
        && text.ends_with(usual)
        && text.chars().all(|c| usual(c) || further.contains(c));
    if !fits {
        let signs: Vec<_> = further.chars().map(|sign| format!("`{sign}`")).collect();
        bail!(
            "{variable} must have {NAME_MIN} to {NAME_MAX} small letters, digits and {} within, \
             and is `{text}`",
            signs.join(" or ")
        );
    }
    Ok(text.to_owned())
}

impl Settings {
    /// How long a grab node holds packets.
    #[must_use]
    pub fn lease(&self) -> Duration {
        Duration::from_secs(self.lease_seconds.unwrap_or(LEASE_SECONDS))
    }

    /// The queue on the MNS at `url`.
    ///
    /// # Errors
    /// When the access key is missing, told twice, or its file cannot be read.
    pub(super) fn mns_at(&self, url: &str) -> anyhow::Result<MnsAt> {
        Ok(MnsAt {
            url: url.trim_end_matches('/').to_owned(),
            key: self.access_key("the queue on MNS")?,
            visibility: self.lease(),
        })
    }

    /// The log store on SLS that the access log is shipped to; `None`: only the file is written.
    ///
    /// # Errors
    /// When it is told in part, a name cannot be one, or the access key is missing, told twice,
    /// or its file cannot be read.
    pub fn sls(&self) -> anyhow::Result<Option<SlsAt>> {
        let project = self.sls_project.as_deref();
        let logstore = self.sls_logstore.as_deref();
        let Some(endpoint) = self.sls_endpoint.as_deref() else {
            if project.is_some() || logstore.is_some() {
                bail!(
                    "HONGBAO_SLS_PROJECT and HONGBAO_SLS_LOGSTORE need HONGBAO_SLS_ENDPOINT: \
                     https://REGION.log.aliyuncs.com"
                );
            }
            return Ok(None);
        };
        let project =
            project.context("HONGBAO_SLS_ENDPOINT needs HONGBAO_SLS_PROJECT beside it")?;
        let project = name_of("HONGBAO_SLS_PROJECT", project, "-")?;
        aliyun::sls::check_endpoint(endpoint, &project).context("HONGBAO_SLS_ENDPOINT")?;
        let logstore = logstore.unwrap_or(LOGSTORE);
        Ok(Some(SlsAt {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            project,
            logstore: name_of("HONGBAO_SLS_LOGSTORE", logstore, "-_")?,
            region: self.sls_region.as_deref().map(str::to_owned),
            key: self.access_key("the log on SLS")?,
        }))
    }

    /// The access key, for `what`.
    fn access_key(&self, what: &str) -> anyhow::Result<AccessKey> {
        let id = self.access_key_id.as_deref();
        let id =
            id.with_context(|| format!("{what} needs ACCESS_KEY_ID, the id of an access key"))?;
        let secret = match (&self.access_key_secret, &self.access_key_secret_file) {
            (Some(_), Some(_)) => {
                bail!("ACCESS_KEY_SECRET and ACCESS_KEY_SECRET_FILE are both set; set one")
            }
            (Some(secret), None) => secret.clone(),
            (None, Some(path)) => {
                let text = std::fs::read_to_string(path).with_context(|| {
                    format!("cannot read the access key's secret in {}", path.display())
                })?;
                text.trim_end_matches(['\r', '\n']).to_owned()
            }
            (None, None) => String::new(),
        };
        if secret.is_empty() {
            bail!("{what} needs ACCESS_KEY_SECRET (or ACCESS_KEY_SECRET_FILE)");
        }
        Ok(AccessKey {
            id: id.to_owned(),
            secret,
            token: self.access_key_token.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{AttemptsAt, QueueAt};

    fn mission() -> Settings {
        Settings {
            mns_url: Some("https://1.mns.cn-x.aliyuncs.com/".into()),
            access_key_id: Some("id".into()),
            access_key_secret: Some("sesame".into()),
            ..Settings::default()
        }
    }

    fn mns(settings: &Settings) -> MnsAt {
        match settings.queue() {
            Ok(QueueAt::Mns(mns)) => mns,
            Ok(queue) => panic!("the queue is {queue}"),
            Err(error) => panic!("{error:#}"),
        }
    }

    fn refusal(settings: &Settings) -> String {
        let refused = settings.queue().err().expect("a refusal").to_string();
        assert!(!refused.contains("sesame"), "{refused}");
        refused
    }

    #[test]
    fn the_mission_s_names_make_a_queue() {
        let told = Settings {
            lease_seconds: Some(40),
            access_key_token: Some("token".into()),
            ..mission()
        };
        let queue = mns(&told);
        assert_eq!(queue.url, "https://1.mns.cn-x.aliyuncs.com");
        assert_eq!((&*queue.key.id, &*queue.key.secret), ("id", "sesame"));
        assert_eq!(queue.key.token.as_deref(), Some("token"));
        assert_eq!(queue.visibility, Duration::from_secs(40));
        let shown = told.queue().expect("a queue").to_string();
        assert_eq!(shown, "https://1.mns.cn-x.aliyuncs.com");
        assert!(told.attempts(true).expect("a place") == AttemptsAt::Memory);
        let with_database = Settings {
            database_url: Some("mysql://h/d".into()),
            ..told
        };
        for one_of_several in [true, false] {
            let attempts = with_database.attempts(one_of_several);
            assert!(attempts.expect("a place") == AttemptsAt::Ledger);
        }
    }

    #[test]
    fn the_queue_s_url_may_name_it() {
        for url in ["mns://h", "https://h", "http://127.0.0.1:1"] {
            let told = Settings {
                mns_url: None,
                queue_url: Some(url.into()),
                ..mission()
            };
            assert_eq!(mns(&told).url, url);
        }
        let twice = Settings {
            queue_url: Some("memory:".into()),
            ..mission()
        };
        assert!(refusal(&twice).contains("MNS_URL"));
        for url in ["ftp://bob:sesame@h", "https://", "sesame"] {
            let wrong = Settings {
                mns_url: Some(url.into()),
                ..mission()
            };
            assert!(refusal(&wrong).contains("MNS_URL"), "{url}");
        }
    }

    #[test]
    fn the_key_is_whole_and_told_once() {
        let nameless = Settings {
            access_key_id: None,
            ..mission()
        };
        assert!(refusal(&nameless).contains("ACCESS_KEY_ID"));
        for secret in [None, Some(String::new())] {
            let without = Settings {
                access_key_secret: secret,
                ..mission()
            };
            assert!(refusal(&without).contains("ACCESS_KEY_SECRET_FILE"));
        }
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("secret");
        std::fs::write(&file, "from a file\n").expect("a file");
        let twice = Settings {
            access_key_secret_file: Some(file),
            ..mission()
        };
        assert!(refusal(&twice).contains("ACCESS_KEY_SECRET_FILE"));
        let from_file = Settings {
            access_key_secret: None,
            ..twice
        };
        assert_eq!(mns(&from_file).key.secret, "from a file");
    }
    fn on_sls() -> Settings {
        Settings {
            mns_url: None,
            sls_endpoint: Some("https://cn-x.log.aliyuncs.com/".into()),
            sls_project: Some("rain".into()),
            ..mission()
        }
    }

    fn sls_refusal(settings: &Settings) -> String {
        let refused = settings.sls().err().expect("a refusal");
        let refused = format!("{refused:#}");
        assert!(!refused.contains("sesame"), "{refused}");
        refused
    }

    #[test]
    fn the_log_is_shipped_where_an_endpoint_and_a_project_are_told() {
        assert!(mission().sls().expect("nothing is wrong").is_none());
        let empty = Settings {
            sls_endpoint: Some(String::new()),
            ..mission()
        };
        let empty = empty.with_file().expect("there is none");
        assert!(empty.sls().expect("nothing is wrong").is_none());
        let at = on_sls().sls().expect("all is told").expect("a log store");
        assert_eq!(
            at.to_string(),
            "https://cn-x.log.aliyuncs.com rain/redpacket-access"
        );
        assert_eq!((&*at.key.secret, at.region), ("sesame", None));
        let apart = Settings {
            sls_logstore: Some("my_store-1".into()),
            sls_region: Some("cn-x".into()),
            ..on_sls()
        };
        let at = apart.sls().expect("all is told").expect("a log store");
        assert_eq!(at.logstore, "my_store-1");
        assert_eq!(at.region.as_deref(), Some("cn-x"));
    }

    #[test]
    fn a_log_store_that_is_told_in_part_or_badly_is_refused_by_name() {
        let nowhere = Settings {
            sls_endpoint: None,
            ..on_sls()
        };
        assert!(sls_refusal(&nowhere).contains("HONGBAO_SLS_ENDPOINT"));
        let without = Settings {
            sls_project: None,
            ..on_sls()
        };
        assert!(sls_refusal(&without).contains("HONGBAO_SLS_PROJECT"));
        let keyless = Settings {
            access_key_id: None,
            ..on_sls()
        };
        let refused = sls_refusal(&keyless);
        assert!(
            refused.contains("SLS") && refused.contains("ACCESS_KEY_ID"),
            "{refused}"
        );
        for endpoint in ["ftp://h", "http://bob:sesame@h", "https://h/path"] {
            let wrong = Settings {
                sls_endpoint: Some(endpoint.into()),
                ..on_sls()
            };
            assert!(
                sls_refusal(&wrong).contains("HONGBAO_SLS_ENDPOINT"),
                "{endpoint}"
            );
        }
        for name in ["ab", "Rain", "a_b", "-ab", "ab-", "a/b"] {
            let wrong = Settings {
                sls_project: Some(name.into()),
                ..on_sls()
            };
            assert!(
                sls_refusal(&wrong).contains("HONGBAO_SLS_PROJECT"),
                "{name}"
            );
            let wrong = Settings {
                sls_logstore: Some(name.to_uppercase()),
                ..on_sls()
            };
            assert!(
                sls_refusal(&wrong).contains("HONGBAO_SLS_LOGSTORE"),
                "{name}"
            );
        }
    }
}
