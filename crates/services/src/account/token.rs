//! Participants' tokens: stateless JWTs that any replica issues and verifies alone.
//!
//! The key fixes the algorithm, never the token: what a token's header says only selects a key,
//! and a signature of any other algorithm than that key's is refused. Times are checked against
//! the caller's clock. A token is never logged.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering},
};

use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode,
    errors::ErrorKind,
};
use rules::{Timestamp, UserId};
use serde::{Deserialize, Serialize};

use super::{key_set, token_cache};

/// How long a token is valid, and the longest that any may be, in seconds.
pub const LIFE_SECONDS: i64 = 24 * 3600;
/// The longest token that is looked at, in bytes.
pub const TOKEN_BYTES_MAX: usize = 4096;
/// The shortest secret, in bytes.
pub const SECRET_BYTES_MIN: usize = 32;
/// How far ahead of ours the issuer's clock may be, in seconds.
const LEEWAY_SECONDS: i64 = 60;
/// Whom tokens are for.
const AUDIENCE: &str = "hongbao";

/// Issues and verifies tokens.
pub struct Tokens {
    signing: EncodingKey,
    own: VerifyingKey,
    /// The operator's keys by `kid`.
    others: HashMap<String, VerifyingKey>,
    /// Tells this object's verified tokens from another's in a thread's cache.
    id: u64,
}

/// A key and the one algorithm it verifies.
pub(super) struct VerifyingKey {
    key: DecodingKey,
    validation: Validation,
}

impl VerifyingKey {
    pub(super) fn new(key: DecodingKey, algorithm: Algorithm) -> Self {
        let mut validation = Validation::new(algorithm);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["aud", "exp", "sub"]);
        // Times are checked here, against the clock that is handed in.
        validation.validate_exp = false;
        Self { key, validation }
    }
}

/// Whose token it is, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The participant.
    pub user: UserId,
    /// From when on the token is void.
    pub expires_at: Timestamp,
}

#[derive(Serialize)]
struct NewClaims<'a> {
    sub: &'a str,
    aud: &'static str,
    iat: i64,
    exp: i64,
}

/// `aud` is checked by the library.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    iat: i64,
    exp: i64,
    nbf: Option<i64>,
}

/// Why a token is void.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefusal {
    /// Over [`TOKEN_BYTES_MAX`] bytes.
    #[error("the token is longer than {TOKEN_BYTES_MAX} bytes")]
    TooLong,
    /// It is no JWT, or lacks `sub`, `aud`, `iat` or `exp`.
    #[error("the token is no JWT with `sub`, `aud`, `iat` and `exp`")]
    Malformed,
    /// It names another algorithm than its key is for.
    #[error("the token's algorithm is not its key's")]
    Algorithm,
    /// It is not signed with its key.
    #[error("the token's signature is wrong")]
    Signature,
    /// It is meant for somebody else.
    #[error("the token is not for `{AUDIENCE}`")]
    Audience,
    /// It is over.
    #[error("the token has expired")]
    Expired,
    /// It was issued in the future.
    #[error("the token is not valid yet")]
    NotYet,
    /// It would be valid for longer than [`LIFE_SECONDS`].
    #[error("the token is valid for longer than 24 hours")]
    TooLongLived,
    /// `sub` cannot be a user id.
    #[error("the token's `sub` is no user id")]
    Subject,
}

/// Why tokens cannot be issued or verified with these settings.
#[derive(Debug, thiserror::Error)]
pub enum TokenSettingsRefusal {
    /// The secret can be guessed.
    #[error("the token secret has {0} bytes; at least {SECRET_BYTES_MIN} are needed")]
    ShortSecret(usize),
    /// The key set cannot be used.
    #[error("the token key set {0}")]
    KeySet(#[from] key_set::KeySetRefusal),
}

impl Tokens {
    /// Tokens signed with `secret` (HS256), and verified with it or with the keys in `key_set`,
    /// a JSON Web Key Set whose Ed25519 and RSA keys have a `kid`.
    ///
    /// # Errors
    /// When the secret is too short or the key set cannot be used.
    pub fn new(secret: &[u8], key_set: Option<&str>) -> Result<Self, TokenSettingsRefusal> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        if secret.len() < SECRET_BYTES_MIN {
            return Err(TokenSettingsRefusal::ShortSecret(secret.len()));
        }
        let others = key_set.map(key_set::parse).transpose()?;
        Ok(Self {
            signing: EncodingKey::from_secret(secret),
            own: VerifyingKey::new(DecodingKey::from_secret(secret), Algorithm::HS256),
            others: others.unwrap_or_default(),
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
        })
    }

    /// A token for `user`, and when it expires.
    ///
    /// # Panics
    /// Never: an HMAC over a text cannot fail.
    #[must_use]
    pub fn issue(&self, user: &UserId, now: Timestamp) -> (String, Timestamp) {
        let iat = seconds(now);
        let exp = iat.saturating_add(LIFE_SECONDS);
        let claims = NewClaims {
            sub: user.as_str(),
            aud: AUDIENCE,
            iat,
            exp,
        };
        let token = encode(&Header::new(Algorithm::HS256), &claims, &self.signing)
            .expect("texts and numbers are JSON, and an HMAC takes any of it");
        (token, Timestamp::from_micros(0).plus_seconds(exp))
    }

    /// Whose token this is. Verifies the signature each time; see [`Self::verify_cached`].
    ///
    /// # Errors
    /// Why the token is void.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<UserId, TokenRefusal> {
        self.verify_fully(token, now).map(|verified| verified.user)
    }

    /// As [`Self::verify`], but a token that this thread verified lately is only looked up, and
    /// its expiry checked.
    ///
    /// # Errors
    /// Why the token is void.
    pub fn verify_cached(&self, token: &str, now: Timestamp) -> Result<UserId, TokenRefusal> {
        if let Some(verified) = token_cache::find(self.id, token) {
            return if now < verified.expires_at {
                Ok(verified.user)
            } else {
                Err(TokenRefusal::Expired)
            };
        }
        let verified = self.verify_fully(token, now)?;
        token_cache::keep(self.id, token, verified.clone());
        Ok(verified.user)
    }

    /// Whose token this is and until when; verifies the signature each time.
    ///
    /// # Errors
    /// Why the token is void.
    pub fn verify_fully(&self, token: &str, now: Timestamp) -> Result<Verified, TokenRefusal> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenRefusal::TooLong);
        }
        let header = decode_header(token).map_err(|error| refusal(error.kind()))?;
        // An extension that must be understood is one that we do not understand (RFC 7515, 4.1.11).
        if header.crit.is_some() {
            return Err(TokenRefusal::Malformed);
        }
        let named = header.kid.as_deref().and_then(|kid| self.others.get(kid));
        let VerifyingKey { key, validation } = named.unwrap_or(&self.own);
        let claims = decode::<Claims>(token, key, validation)
            .map_err(|error| refusal(error.kind()))?
            .claims;
        check_times(&claims, now)?;
        let user = UserId::new(&claims.sub).map_err(|_| TokenRefusal::Subject)?;
        let expires_at = Timestamp::from_micros(0).plus_seconds(claims.exp);
        Ok(Verified { user, expires_at })
    }
}

fn check_times(claims: &Claims, now: Timestamp) -> Result<(), TokenRefusal> {
    let begins = claims.nbf.unwrap_or(claims.iat).max(claims.iat);
    if begins > seconds(now).saturating_add(LEEWAY_SECONDS) {
        return Err(TokenRefusal::NotYet);
    }
    match claims.exp.checked_sub(claims.iat) {
        Some(life) if life <= LIFE_SECONDS => {}
        _ => return Err(TokenRefusal::TooLongLived),
    }
    if now >= Timestamp::from_micros(0).plus_seconds(claims.exp) {
        return Err(TokenRefusal::Expired);
    }
    Ok(())
}

/// Whole seconds since the Unix epoch.
const fn seconds(at: Timestamp) -> i64 {
    at.micros().div_euclid(1_000_000)
}

fn refusal(kind: &ErrorKind) -> TokenRefusal {
    match kind {
        ErrorKind::InvalidSignature => TokenRefusal::Signature,
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => TokenRefusal::Algorithm,
        ErrorKind::InvalidAudience => TokenRefusal::Audience,
        _ => TokenRefusal::Malformed,
    }
}

#[cfg(test)]
mod tests;
