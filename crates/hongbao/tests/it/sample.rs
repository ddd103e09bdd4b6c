//! What tests send and read: campaigns, tokens minted as an operator's own login would, times,
//! fields of replies.

use serde_json::{Value, json};

use crate::server::TOKEN_SECRET;

/// A campaign of `packets` packets of 100 fen in one wave, open at once.
pub(crate) fn plain(packets: u32) -> Value {
    json!({
        "title": "Test", "packets": packets, "batches": 1, "interval_seconds": 0,
        "currency": "CNY", "split": {"mode": "equal", "amount": 100},
    })
}

/// `base` with the fields of `changes` put over its own; null removes.
pub(crate) fn with(mut base: Value, changes: Value) -> Value {
    let fields = base.as_object_mut().expect("an object");
    for (name, value) in changes.as_object().expect("an object") {
        if value.is_null() {
            fields.remove(name);
        } else {
            fields.insert(name.clone(), value.clone());
        }
    }
    base
}

/// A valid token of `user`.
pub(crate) fn token(user: &str) -> String {
    token_with(&json!({"sub": user, "aud": "hongbao"}), TOKEN_SECRET)
}

/// A token of these claims, signed with `secret`; `iat` and `exp` are added unless given.
pub(crate) fn token_with(claims: &Value, secret: &str) -> String {
    let now = unix_seconds();
    let claims = with(json!({"iat": now, "exp": now + 3_600}), claims.clone());
    let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
    let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);
    jsonwebtoken::encode(&header, &claims, &key).expect("claims can be signed")
}

/// Seconds since the Unix epoch.
#[expect(
    clippy::disallowed_methods,
    reason = "a test is the outer edge, where the time comes from"
)]
pub(crate) fn unix_seconds() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.expect("the clock stands after 1970").as_secs()
}

/// RFC 3339 of a moment `seconds` from now.
pub(crate) fn from_now(seconds: i64) -> String {
    let now = i64::try_from(unix_seconds()).expect("fits");
    rules::Timestamp::from_micros((now + seconds) * 1_000_000).to_string()
}

/// A text field; the test fails when it is none.
pub(crate) fn text(value: &Value) -> String {
    match value.as_str() {
        Some(text) => text.into(),
        None => panic!("expected a text, found {value}"),
    }
}

/// A whole number; the test fails when it is none.
pub(crate) fn number(value: &Value) -> u64 {
    match value.as_u64() {
        Some(number) => number,
        None => panic!("expected a whole number, found {value}"),
    }
}
