//! Forgeries: every way to come by a token that we did not issue, and what becomes of it.

use aws_lc_rs::{encoding::AsDer as _, rsa};
use jsonwebtoken::jwk::{Jwk, JwkSet};
use serde_json::{Value, json};

use super::*;

const SECRET: &[u8] = b"a secret of at least thirty-two bytes";
const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);
const NOW_SECONDS: i64 = 1_800_000_000;

fn tokens() -> Tokens {
    Tokens::new(SECRET, None).unwrap()
}

fn good_claims() -> Value {
    json!({"sub": "ann", "aud": "hongbao", "iat": NOW_SECONDS, "exp": NOW_SECONDS + 60})
}

/// The good claims with one of them set, or left out for `null`.
fn claims_with(name: &str, value: Value) -> Value {
    let mut claims = good_claims();
    let map = claims.as_object_mut().unwrap();
    if value.is_null() {
        map.remove(name);
    } else {
        map.insert(name.to_owned(), value);
    }
    claims
}

fn signed(claims: &Value) -> String {
    encode(
        &Header::new(Algorithm::HS256),
        claims,
        &EncodingKey::from_secret(SECRET),
    )
    .unwrap()
}

fn refusal_of(token: &str) -> TokenRefusal {
    let tokens = tokens();
    let refusal = tokens.verify(token, NOW).unwrap_err();
    assert_eq!(tokens.verify_cached(token, NOW), Err(refusal));
    refusal
}

#[test]
fn what_is_issued_is_verified_until_it_expires() {
    let tokens = tokens();
    let user = UserId::new("李雷").unwrap();
    let (token, expires_at) = tokens.issue(&user, NOW);
    assert_eq!(expires_at, NOW.plus_seconds(LIFE_SECONDS));
    assert_eq!(tokens.verify(&token, NOW), Ok(user.clone()));
    let last = expires_at.plus_micros(-1);
    assert_eq!(tokens.verify(&token, last), Ok(user));
    assert_eq!(
        tokens.verify(&token, expires_at),
        Err(TokenRefusal::Expired)
    );
}

#[test]
fn a_cached_token_still_expires_and_belongs_to_its_key() {
    let ours = tokens();
    let user = UserId::new("ann").unwrap();
    let (token, expires_at) = ours.issue(&user, NOW);
    assert_eq!(ours.verify_cached(&token, NOW), Ok(user.clone()));
    assert_eq!(ours.verify_cached(&token, NOW), Ok(user));
    let theirs = Tokens::new(&[9; 32], None).unwrap();
    assert_eq!(
        theirs.verify_cached(&token, NOW),
        Err(TokenRefusal::Signature)
    );
    assert!(ours.verify_cached(&token, NOW).is_ok());
    assert_eq!(
        ours.verify_cached(&token, expires_at),
        Err(TokenRefusal::Expired)
    );
    // One altered character must not find the cached verdict.
    let altered = format!("{}x", &token[..token.len() - 1]);
    assert!(ours.verify_cached(&altered, NOW).is_err());
}

#[test]
fn another_secret_or_an_altered_payload_is_refused() {
    let (theirs, _) = Tokens::new(&[9; 32], None)
        .unwrap()
        .issue(&UserId::trusted("ann"), NOW);
    assert_eq!(refusal_of(&theirs), TokenRefusal::Signature);

    let (ann, bob) = (
        signed(&good_claims()),
        signed(&claims_with("sub", "bob".into())),
    );
    let (bobs_payload, _) = bob.rsplit_once('.').unwrap();
    let (_, anns_signature) = ann.rsplit_once('.').unwrap();
    let forged = format!("{bobs_payload}.{anns_signature}");
    assert_eq!(refusal_of(&forged), TokenRefusal::Signature);
}

#[test]
fn another_algorithm_is_refused() {
    let token = signed(&good_claims());
    let mut parts = token.split('.');
    let (_, payload, signature) = (
        parts.next().unwrap(),
        parts.next().unwrap(),
        parts.next().unwrap(),
    );
    // {"alg":"none","typ":"JWT"} and {"alg":"None","typ":"JWT"}
    for none in [
        "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0",
        "eyJhbGciOiJOb25lIiwidHlwIjoiSldUIn0",
    ] {
        for forged in [
            format!("{none}.{payload}."),
            format!("{none}.{payload}.{signature}"),
        ] {
            tokens().verify(&forged, NOW).unwrap_err();
        }
    }
    let key = EncodingKey::from_secret(SECRET);
    for algorithm in [Algorithm::HS384, Algorithm::HS512] {
        let token = encode(&Header::new(algorithm), &good_claims(), &key).unwrap();
        assert_eq!(refusal_of(&token), TokenRefusal::Algorithm);
    }
}

#[test]
fn every_claim_is_needed_and_checked() {
    assert!(tokens().verify(&signed(&good_claims()), NOW).is_ok());
    let cases = [
        ("sub", Value::Null, TokenRefusal::Malformed),
        ("sub", 5.into(), TokenRefusal::Malformed),
        ("sub", "".into(), TokenRefusal::Subject),
        ("sub", "x".repeat(65).into(), TokenRefusal::Subject),
        ("sub", "a\u{7}".into(), TokenRefusal::Subject),
        ("aud", Value::Null, TokenRefusal::Malformed),
        ("aud", "other".into(), TokenRefusal::Audience),
        ("aud", json!(["other"]), TokenRefusal::Audience),
        ("iat", Value::Null, TokenRefusal::Malformed),
        ("iat", "soon".into(), TokenRefusal::Malformed),
        (
            "iat",
            (NOW_SECONDS + LEEWAY_SECONDS + 1).into(),
            TokenRefusal::NotYet,
        ),
        ("iat", i64::MAX.into(), TokenRefusal::NotYet),
        ("iat", i64::MIN.into(), TokenRefusal::TooLongLived),
        ("exp", Value::Null, TokenRefusal::Malformed),
        ("exp", "never".into(), TokenRefusal::Malformed),
        ("exp", NOW_SECONDS.into(), TokenRefusal::Expired),
        ("exp", (-1).into(), TokenRefusal::Malformed),
        (
            "exp",
            (NOW_SECONDS + LIFE_SECONDS + 1).into(),
            TokenRefusal::TooLongLived,
        ),
        ("exp", i64::MAX.into(), TokenRefusal::TooLongLived),
        ("nbf", (NOW_SECONDS + 3600).into(), TokenRefusal::NotYet),
    ];
    for (name, value, expected) in cases {
        let refusal = refusal_of(&signed(&claims_with(name, value.clone())));
        assert_eq!(refusal, expected, "{name} = {value}");
    }
    let among = signed(&claims_with("aud", json!(["other", "hongbao"])));
    assert!(tokens().verify(&among, NOW).is_ok());
}

#[test]
fn rubbish_and_huge_tokens_are_refused() {
    for rubbish in ["", ".", "..", "...", "a.b.c", "\u{0}.\u{0}.\u{0}"] {
        assert_eq!(refusal_of(rubbish), TokenRefusal::Malformed, "{rubbish:?}");
    }
    let huge = signed(&claims_with("more", "x".repeat(TOKEN_BYTES_MAX).into()));
    assert_eq!(refusal_of(&huge), TokenRefusal::TooLong);
    let mut header = Header::new(Algorithm::HS256);
    header.crit = Some(vec!["b64".into()]);
    let critical = encode(&header, &good_claims(), &EncodingKey::from_secret(SECRET)).unwrap();
    assert_eq!(refusal_of(&critical), TokenRefusal::Malformed);
}

#[test]
fn a_short_secret_is_refused() {
    let refusal = Tokens::new(&[1; 31], None).err().unwrap();
    insta::assert_snapshot!(refusal, @"the token secret has 31 bytes; at least 32 are needed");
}

/// An operator's key: private, and as it stands in the key set.
fn operator_key(kid: &str, algorithm: Algorithm) -> (EncodingKey, Jwk) {
    let key = if algorithm == Algorithm::EdDSA {
        let pair = aws_lc_rs::signature::Ed25519KeyPair::generate().unwrap();
        let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = pair.as_der().unwrap();
        EncodingKey::from_ed_der(der.as_ref())
    } else {
        let pair = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).unwrap();
        let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = pair.as_der().unwrap();
        // The bare key stands behind 26 bytes that say what it is.
        EncodingKey::from_rsa_der(&der.as_ref()[26..])
    };
    let mut jwk = Jwk::from_encoding_key(&key, algorithm).unwrap();
    jwk.common.key_id = Some(kid.to_owned());
    (key, jwk)
}

fn key_set(keys: Vec<Jwk>) -> String {
    serde_json::to_string(&JwkSet { keys }).unwrap()
}

fn signed_by(key: &EncodingKey, algorithm: Algorithm, kid: Option<&str>) -> String {
    let mut header = Header::new(algorithm);
    header.kid = kid.map(str::to_owned);
    encode(&header, &good_claims(), key).unwrap()
}

#[test]
fn an_operators_keys_verify_by_kid_and_their_own_algorithm_only() {
    let (ed, ed_public) = operator_key("ed", Algorithm::EdDSA);
    let (rs, rs_public) = operator_key("rs", Algorithm::RS256);
    let tokens = Tokens::new(SECRET, Some(&key_set(vec![ed_public, rs_public.clone()]))).unwrap();
    let verdict = |token: String| tokens.verify(&token, NOW).map(|user| user.to_string());

    for (key, algorithm, kid) in [(&ed, Algorithm::EdDSA, "ed"), (&rs, Algorithm::RS256, "rs")] {
        assert_eq!(
            verdict(signed_by(key, algorithm, Some(kid))),
            Ok("ann".into())
        );
        for other in [None, Some("other"), Some("rs"), Some("ed")] {
            if other != Some(kid) {
                let refusal = verdict(signed_by(key, algorithm, other)).unwrap_err();
                assert_eq!(refusal, TokenRefusal::Algorithm, "{other:?}");
            }
        }
    }
    // Signed with an HMAC under the public key, which everybody knows.
    let Modulus(modulus) = (&rs_public).into();
    let confused = EncodingKey::from_secret(modulus.as_bytes());
    let refusal = verdict(signed_by(&confused, Algorithm::HS256, Some("rs"))).unwrap_err();
    assert_eq!(refusal, TokenRefusal::Algorithm);
    // Another operator's key under a known id.
    let (stranger, _) = operator_key("ed", Algorithm::EdDSA);
    let refusal = verdict(signed_by(&stranger, Algorithm::EdDSA, Some("ed"))).unwrap_err();
    assert_eq!(refusal, TokenRefusal::Signature);
    // Our own tokens stay good.
    assert_eq!(verdict(signed(&good_claims())), Ok("ann".into()));
}

/// An RSA key's modulus as it stands in the key set.
struct Modulus(String);

impl From<&Jwk> for Modulus {
    fn from(jwk: &Jwk) -> Self {
        let json = serde_json::to_value(jwk).unwrap();
        Self(json["n"].as_str().unwrap().to_owned())
    }
}

#[test]
fn a_key_set_without_use_is_refused_with_the_reason() {
    let refusal = |json: &str| Tokens::new(SECRET, Some(json)).err().unwrap().to_string();
    let (_, ed) = operator_key("ed", Algorithm::EdDSA);
    let twice = key_set(vec![ed.clone(), ed]);
    insta::assert_snapshot!(refusal(&twice), @r#"the token key set holds two keys with the `kid` "ed""#);
    insta::assert_snapshot!(refusal(r#"{"keys":[]}"#), @r#"the token key set holds no Ed25519 or RSA key with a `kid` for EdDSA or RS256 signatures"#);
    insta::assert_snapshot!(refusal("[]"), @r#"the token key set is no JSON Web Key Set: invalid length 0, expected struct JwkSet with 1 element at line 1 column 2"#);
    let secret = r#"{"keys":[{"kty":"oct","kid":"s","k":"c2VjcmV0"}]}"#;
    insta::assert_snapshot!(refusal(secret), @r#"the token key set holds no Ed25519 or RSA key with a `kid` for EdDSA or RS256 signatures"#);
    let weak = r#"{"keys":[{"kty":"RSA","kid":"w","n":"AQAB","e":"AQAB"}]}"#;
    insta::assert_snapshot!(refusal(weak), @r#"the token key set holds the key "w", which is shorter than 2048 bits"#);
}
