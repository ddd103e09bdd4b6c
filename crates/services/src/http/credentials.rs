//! What a request shows of who it is from, and what is kept of such secrets.

use aws_lc_rs::digest;
use http::{HeaderMap, HeaderValue, header};

/// The credential of the one `Authorization: Bearer` header; `None` when there are several.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let values = headers.get_all(header::AUTHORIZATION).iter();
    bearer_of(values.map(HeaderValue::as_bytes))
}

/// As [`bearer`], of the values of `Authorization`.
pub(crate) fn bearer_of<'h>(mut values: impl Iterator<Item = &'h [u8]>) -> Option<&'h str> {
    let value = values.next().filter(|_| values.next().is_none())?;
    let (scheme, credential) = std::str::from_utf8(value).ok()?.split_once(' ')?;
    let credential = credential.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !credential.is_empty()).then_some(credential)
}

/// The first cookie of this name.
pub(crate) fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let lines = headers.get_all(header::COOKIE).iter();
    let pairs = lines
        .filter_map(|line: &HeaderValue| line.to_str().ok())
        .flat_map(|line| line.split(';'));
    pairs
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(found, _)| *found == name)
        .map(|(_, value)| value)
}

/// SHA-256: what is kept of tokens and compared of keys, so that neither what keeps them nor the
/// time that a comparison takes tells anything about them.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = digest::digest(&digest::SHA256, bytes);
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}
