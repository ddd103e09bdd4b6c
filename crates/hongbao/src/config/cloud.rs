//! What the settings say of the cloud: its message service, and the key that calls it. The key's
//! secret and token must never be shown.

use std::time::Duration;

use anyhow::{Context as _, bail};

use super::Settings;

/// How long a grab node holds packets, when nothing else is said, in seconds.
const LEASE_SECONDS: u64 = 30;

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
            key: self.access_key()?,
            visibility: self.lease(),
        })
    }

    /// The access key.
    fn access_key(&self) -> anyhow::Result<AccessKey> {
        let id = self.access_key_id.as_deref().filter(|id| !id.is_empty());
        let id = id.context("the queue on MNS needs ACCESS_KEY_ID, the id of an access key")?;
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
            bail!("the queue on MNS needs ACCESS_KEY_SECRET (or ACCESS_KEY_SECRET_FILE)");
        }
        let token = self.access_key_token.clone();
        Ok(AccessKey {
            id: id.to_owned(),
            secret,
            token: token.filter(|token| !token.is_empty()),
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
        assert!(told.attempts().expect("a place") == AttemptsAt::Memory);
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
}
