//! Organisers' passwords: hashed with argon2id, a few at a time.
//!
//! Each hash takes 19 MiB and tens of milliseconds of a core, so the number under way is
//! bounded, and none runs on the tasks that answer grabs.

use std::{sync::Arc, time::Duration};

use argon2::{
    Argon2,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::http::ApiError;

/// How many hashes may be computed at the same time.
const AT_ONCE_MAX: usize = 2;
/// How long a login waits for its turn.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// The least length of a password, in characters.
pub(crate) const PASSWORD_CHARS_MIN: usize = 8;
/// The longest password, in bytes: argon2 reads all of it.
pub(crate) const PASSWORD_BYTES_MAX: usize = 1_024;

/// What a login of an unknown user is compared with, so that it takes as long as any other. No
/// password leads to it: its digest was made up.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm8gc3VjaCBwZXJzb24$\
                      AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Hashes and compares passwords.
pub(crate) struct Passwords {
    turns: Arc<Semaphore>,
}

impl Passwords {
    pub(crate) fn new() -> Self {
        Self {
            turns: Arc::new(Semaphore::new(AT_ONCE_MAX)),
        }
    }

    /// The PHC string of `password` under `salt`.
    ///
    /// # Errors
    /// 503 when too many are under way.
    pub(crate) async fn hash(&self, password: String, salt: [u8; 16]) -> Result<String, ApiError> {
        let turn = self.turn().await?;
        let work = move || {
            let hash = Argon2::default().hash_password_with_salt(password.as_bytes(), &salt);
            drop(turn);
            hash.map(|hash| hash.to_string())
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(Ok(hash)) => Ok(hash),
            Ok(Err(cause)) => Err(failed(&cause)),
            Err(cause) => Err(failed(&cause)),
        }
    }

    /// Whether `password` is the one that `hash` was made of; with no hash it never is, and
    /// finding that out takes as long.
    ///
    /// # Errors
    /// 503 when too many are under way.
    pub(crate) async fn matches(
        &self,
        password: String,
        hash: Option<String>,
    ) -> Result<bool, ApiError> {
        let turn = self.turn().await?;
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| NOBODY.to_owned());
        let work = move || {
            let matches = PasswordHash::new(&hash).is_ok_and(|hash| {
                let argon2 = Argon2::default();
                argon2.verify_password(password.as_bytes(), &hash).is_ok()
            });
            drop(turn);
            matches
        };
        let matches = tokio::task::spawn_blocking(work)
            .await
            .map_err(|cause| failed(&cause))?;
        Ok(matches && known)
    }

    async fn turn(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        match tokio::time::timeout(WAIT_MAX, self.turns.clone().acquire_owned()).await {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(ApiError::unavailable("too many logins at once; ask again")),
        }
    }
}

fn failed(cause: &dyn std::fmt::Display) -> ApiError {
    tracing::error!(error = %cause, "a password could not be hashed");
    ApiError::new(
        http::StatusCode::INTERNAL_SERVER_ERROR,
        "internal",
        "the password could not be checked; see the server's log",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_password_matches_and_nobody_has_none() {
        let passwords = Passwords::new();
        let hash = passwords.hash("correct horse".into(), [7; 16]).await;
        let hash = hash.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        let matches = async |password: &str, hash: Option<&String>| {
            let hash = hash.cloned();
            passwords.matches(password.into(), hash).await.unwrap()
        };
        assert!(matches("correct horse", Some(&hash)).await);
        assert!(!matches("correct horsf", Some(&hash)).await);
        assert!(!matches("correct horse", None).await);
    }

    #[test]
    fn nobody_costs_as_much_as_anybody() {
        let nobody = PasswordHash::new(NOBODY).unwrap();
        let anybody = Argon2::default()
            .hash_password_with_salt(b"correct horse", &[7; 16])
            .unwrap();
        assert_eq!(nobody.params, anybody.params);
        assert_eq!(nobody.algorithm, anybody.algorithm);
        assert_eq!(
            nobody.hash.map(|hash| hash.len()),
            anybody.hash.map(|hash| hash.len())
        );
    }
}
