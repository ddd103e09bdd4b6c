//! The recorded signatures of the vendor's SDKs, and the vendor's published one.

use serde::Deserialize;

use super::*;

/// One recorded request.
#[derive(Deserialize)]
struct Vector {
    scheme: String,
    name: String,
    key_id: String,
    secret: String,
    method: String,
    target: String,
    headers: std::collections::BTreeMap<String, String>,
    canonical: Option<String>,
    string_to_sign: String,
    signature: String,
}

impl Vector {
    fn headers(&self) -> HeaderMap {
        let header = |(name, value): (&String, &String)| {
            let name: HeaderName = name.parse().expect("a header's name");
            (
                name,
                value.parse::<HeaderValue>().expect("a header's value"),
            )
        };
        self.headers.iter().map(header).collect()
    }

    /// The same headers less those that `sign` sets itself.
    fn unsigned(&self, set_by_sign: &[&str]) -> HeaderMap {
        let mut headers = self.headers();
        for name in set_by_sign {
            headers.remove(*name);
        }
        headers
    }

    fn credentials(&self) -> Credentials {
        Credentials::new(&*self.key_id, &*self.secret)
    }
}

fn vectors(scheme: &str) -> Vec<Vector> {
    let lines = include_str!("../../tests/data/signatures.jsonl").lines();
    let all = lines.map(|line| serde_json::from_str::<Vector>(line).expect("a vector"));
    let of_scheme: Vec<_> = all.filter(|vector| vector.scheme == scheme).collect();
    assert!(of_scheme.len() > 10, "{scheme} lacks vectors");
    of_scheme
}

fn at(http_date: &str) -> Timestamp {
    parse_http_date(http_date).expect("an HTTP date")
}

#[test]
fn mns_signs_as_the_sdks_do() {
    for vector in vectors("mns") {
        let text = mns::string_to_sign(&vector.method, &vector.target, &vector.headers());
        assert_eq!(text, vector.string_to_sign, "{}", vector.name);
        let signature = mns::signature(&vector.secret, &text);
        assert!(same(&signature, &vector.signature), "{}", vector.name);
    }
}

#[test]
fn sls_v1_signs_as_the_sdks_do() {
    for vector in vectors("sls_v1") {
        let text = sls_v1::string_to_sign(&vector.method, &vector.target, &vector.headers());
        assert_eq!(text, vector.string_to_sign, "{}", vector.name);
        let signature = sls_v1::signature(&vector.secret, &text);
        assert!(same(&signature, &vector.signature), "{}", vector.name);
    }
}

#[test]
fn sls_v4_signs_as_the_sdks_do() {
    for vector in vectors("sls_v4") {
        let headers = vector.headers();
        let digest = text_of(&headers, "x-log-content-sha256");
        let canonical = sls_v4::canonical_request(&vector.method, &vector.target, &headers, digest);
        assert_eq!(
            Some(&canonical),
            vector.canonical.as_ref(),
            "{}",
            vector.name
        );
        let authorization = sls_v4::Authorization::parse(text_of(&headers, "authorization"));
        let authorization = authorization.expect("a recorded header is of the scheme");
        assert_eq!(authorization.key_id, vector.key_id);
        let date = text_of(&headers, "x-log-date");
        let text = sls_v4::string_to_sign(date, &authorization.scope, &canonical);
        assert_eq!(text, vector.string_to_sign, "{}", vector.name);
        let signature = sls_v4::signature(&vector.secret, &authorization.scope, &text);
        assert!(same(&signature, &vector.signature), "{}", vector.name);
        assert_eq!(authorization.signature, signature);
    }
}

/// `sign` of an empty body gives the very header that an SDK gave for the same request.
#[test]
fn whole_requests_are_signed_as_the_sdks_do() {
    let find = |scheme, name: &str| {
        let found = vectors(scheme)
            .into_iter()
            .find(|v| v.name.starts_with(name));
        found.expect("the vector is there")
    };
    let vector = find("mns", "mns-022");
    let mut headers = vector.unsigned(&["date", "x-mns-version", "authorization"]);
    let now = at(&vector.headers["date"]);
    let credentials = vector.credentials();
    mns::sign("GET", &vector.target, &mut headers, b"", &credentials, now).expect("plain text");
    assert_eq!(headers, vector.headers());

    let vector = find("sls_v1", "sls-056");
    let mut headers = vector.unsigned(&["date", "x-log-signaturemethod", "authorization"]);
    let now = at(&vector.headers["date"]);
    sls_v1::sign("GET", &vector.target, &mut headers, b"", &credentials, now).expect("plain text");
    assert_eq!(headers, vector.headers());

    let vector = find("sls_v4", "sls-073");
    let mut headers = vector.unsigned(&["x-log-date", "x-log-content-sha256", "authorization"]);
    let now = at("Sun, 22 Nov 2026 20:58:37 GMT");
    let request = ("GET", vector.target.as_str());
    sls_v4::sign(request, &mut headers, b"", &credentials, "cn-hangzhou", now).expect("plain text");
    assert_eq!(headers, vector.headers());
}

#[test]
fn a_body_is_digested_as_each_service_has_it() {
    assert_eq!(
        mns::content_md5(b""),
        "ZDQxZDhjZDk4ZjAwYjIwNGU5ODAwOTk4ZWNmODQyN2U="
    );
    let project = br#"{"projectName":"rprust","description":"d"}"#;
    assert_eq!(
        sls_v1::content_md5(project),
        "09C045325BF24D03F386A7ED6F32FE5D"
    );
}

#[test]
fn a_token_travels_and_only_sls_signs_it() {
    let credentials = Credentials::new("id", "secret").with_security_token("token");
    let now = at("Sun, 22 Nov 2026 20:58:31 GMT");
    let mut headers = HeaderMap::new();
    mns::sign("GET", "/queues", &mut headers, b"", &credentials, now).expect("plain text");
    assert_eq!(text_of(&headers, "security-token"), "token");
    assert!(!mns::string_to_sign("GET", "/queues", &headers).contains("token"));

    let mut headers = HeaderMap::new();
    sls_v1::sign("GET", "/", &mut headers, b"", &credentials, now).expect("plain text");
    let text = sls_v1::string_to_sign("GET", "/", &headers);
    assert!(text.contains("\nx-acs-security-token:token\n"), "{text}");
    sls_v4::sign(("GET", "/"), &mut headers, b"", &credentials, "r", now).expect("plain text");
    let text = sls_v4::canonical_request("GET", "/", &headers, "");
    assert!(text.contains("\nx-acs-security-token:token\n"), "{text}");

    let broken = Credentials::new("id\n", "secret");
    let refused = mns::sign("GET", "/", &mut headers, b"", &broken, now);
    assert_eq!(refused, Err(HeaderError("authorization")));
}

#[test]
fn secrets_are_not_shown_and_signatures_are_compared_whole() {
    let shown = format!(
        "{:?}",
        Credentials::new("id", "s3cret").with_security_token("t0ken")
    );
    assert!(
        !shown.contains("s3cret") && !shown.contains("t0ken"),
        "{shown}"
    );
    assert!(same("abc", "abc"));
    assert!(!same("abc", "abd") && !same("abc", "abcd") && !same("", "a"));
}

#[test]
fn dates_go_there_and_back() {
    let noon = "Sun, 22 Nov 2026 20:58:31 GMT";
    assert_eq!(http_date(at(noon)), noon);
    assert_eq!(sls_v4::log_date(at(noon)), "20261122T205831Z");
    assert_eq!(parse_http_date("yesterday"), None);
    assert_eq!(
        http_date(Timestamp::from_micros(-5)),
        "Thu, 01 Jan 1970 00:00:00 GMT"
    );
}
