//! The operator's own keys, out of a JSON Web Key Set (RFC 7517), so that another login can mint
//! participants' tokens.
//!
//! Only public keys are of use here, and only Ed25519 and RSA ones; a shared secret in the set
//! is never taken, because the set is no secret.

use std::collections::HashMap;

use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, PublicKeyUse},
};

use super::token::VerifyingKey;

/// The most keys in a set.
const KEYS_MAX: usize = 100;
/// The shortest RSA modulus, in base64 digits: 2048 bits.
const RSA_DIGITS_MIN: usize = 342;

/// Why a key set cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeySetRefusal {
    /// It is no key set.
    #[error("is no JSON Web Key Set: {0}")]
    Malformed(String),
    /// It holds too many keys.
    #[error("holds more than {KEYS_MAX} keys")]
    TooMany,
    /// None of its keys is one for signatures that we can verify.
    #[error("holds no Ed25519 or RSA key with a `kid` for EdDSA or RS256 signatures")]
    Empty,
    /// Two keys have the same id, so that which one is meant is open.
    #[error("holds two keys with the `kid` {0:?}")]
    Twice(String),
    /// A key is too weak or broken.
    #[error("holds the key {0:?}, which {1}")]
    BadKey(String, String),
}

/// Whether `json` is a key set that can be used.
///
/// # Errors
/// Why it cannot.
pub fn check(json: &str) -> Result<(), KeySetRefusal> {
    parse(json).map(drop)
}

/// The keys of a set by `kid`, each with its one algorithm. Keys for other uses are passed over.
pub(super) fn parse(json: &str) -> Result<HashMap<String, VerifyingKey>, KeySetRefusal> {
    let set: JwkSet =
        serde_json::from_str(json).map_err(|error| KeySetRefusal::Malformed(error.to_string()))?;
    if set.keys.len() > KEYS_MAX {
        return Err(KeySetRefusal::TooMany);
    }
    let mut keys = HashMap::new();
    for jwk in &set.keys {
        let Some((kid, algorithm)) = usable(jwk) else {
            continue;
        };
        if let AlgorithmParameters::RSA(rsa) = &jwk.algorithm
            && rsa.n.trim_end_matches('=').len() < RSA_DIGITS_MIN
        {
            let reason = "is shorter than 2048 bits".to_owned();
            return Err(KeySetRefusal::BadKey(kid.to_owned(), reason));
        }
        let key = DecodingKey::from_jwk(jwk)
            .map_err(|error| KeySetRefusal::BadKey(kid.to_owned(), error.to_string()))?;
        if keys
            .insert(kid.to_owned(), VerifyingKey::new(key, algorithm))
            .is_some()
        {
            return Err(KeySetRefusal::Twice(kid.to_owned()));
        }
    }
    if keys.is_empty() {
        return Err(KeySetRefusal::Empty);
    }
    Ok(keys)
}

/// The id and the algorithm of a key that verifies tokens.
fn usable(jwk: &Jwk) -> Option<(&str, Algorithm)> {
    let signs = matches!(
        jwk.common.public_key_use,
        None | Some(PublicKeyUse::Signature)
    );
    let (algorithm, name) = match &jwk.algorithm {
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        _ => return None,
    };
    let fits = jwk.common.key_algorithm.is_none_or(|said| said == name);
    let kid = jwk.common.key_id.as_deref()?;
    (signs && fits).then_some((kid, algorithm))
}
