//! Protection against cross-site request forgery, for requests that a cookie authenticates.
//!
//! tower-http's `csrf` layer is not used: it lets a request through that carries neither
//! `Sec-Fetch-Site` nor `Origin`, and one that says `Sec-Fetch-Site: none`, and it judges every
//! request, where the contract asks for proof from those by cookie only (a Bearer token cannot
//! be forged across sites). A request by cookie without proof must never pass.

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::ApiError;

/// Which origins are ours besides the host that a request names.
#[derive(Clone, Debug, Default)]
pub struct OriginRules {
    /// Scheme and authority of the public URL, in lower case, default port left out.
    public: Option<String>,
    /// Whether the public URL is https, so that cookies are to be marked Secure.
    secure: bool,
}

/// Whether [`OriginRules`] can be made of `public_url`.
///
/// # Errors
/// Why it is no URL.
pub fn check_url(public_url: &str) -> Result<(), http::uri::InvalidUri> {
    public_url.parse::<http::Uri>().map(drop)
}

impl OriginRules {
    /// Rules for a server that is reached under `public_url` (what links and QR codes show).
    #[must_use]
    pub fn new(public_url: Option<&str>) -> Self {
        let uri = public_url.and_then(|url| url.parse::<http::Uri>().ok());
        let public = uri.as_ref().and_then(|uri| {
            let scheme = uri.scheme_str()?;
            let authority = uri.authority()?.as_str();
            let default_port = if scheme == "https" { ":443" } else { ":80" };
            let authority = authority.strip_suffix(default_port).unwrap_or(authority);
            Some(format!("{scheme}://{authority}").to_ascii_lowercase())
        });
        let secure = public
            .as_ref()
            .is_some_and(|origin| origin.starts_with("https://"));
        Self { public, secure }
    }

    /// Whether the public URL is https, so that cookies are to be marked Secure.
    #[must_use]
    pub fn secure(&self) -> bool {
        self.secure
    }
}

/// Refuses an unsafe request that a page of another site may have sent. To be asked of each
/// request that a cookie authenticates; what counts:
/// - GET, HEAD and OPTIONS pass: they change nothing;
/// - `Sec-Fetch-Site`, when there, must be `same-origin`;
/// - without it, `Origin` must be the request's `Host` or the public URL.
///
/// # Errors
/// 403 `cross_origin`.
pub fn check(headers: &HeaderMap, method: &Method, rules: &OriginRules) -> Result<(), ApiError> {
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) || is_ours(headers, rules) {
        return Ok(());
    }
    Err(ApiError::new(
        StatusCode::FORBIDDEN,
        "cross_origin",
        "a request by cookie must come from this site's own pages: `Sec-Fetch-Site` or `Origin` must say so",
    ))
}

fn is_ours(headers: &HeaderMap, rules: &OriginRules) -> bool {
    if headers.contains_key("sec-fetch-site") {
        return single(headers, "sec-fetch-site").is_some_and(|site| site == "same-origin");
    }
    let Some(origin) = single(headers, header::ORIGIN.as_str()).and_then(|o| o.to_str().ok())
    else {
        return false;
    };
    if let Some(public) = &rules.public
        && origin.eq_ignore_ascii_case(public)
    {
        return true;
    }
    let authority = ["http://", "https://"]
        .into_iter()
        .find_map(|scheme| origin.strip_prefix(scheme));
    let host = single(headers, header::HOST.as_str()).and_then(|host| host.to_str().ok());
    matches!((authority, host), (Some(ours), Some(host)) if !host.is_empty() && ours.eq_ignore_ascii_case(host))
}

/// The value of a header that stands there exactly once; twice is ambiguous, so it proves nothing.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn passes(method: &Method, lines: &[(&'static str, &'static str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        let rules = OriginRules::new(Some("https://Rain.example:443/pages"));
        check(&headers, method, &rules).is_ok()
    }

    #[test]
    fn safe_methods_pass_and_unsafe_ones_need_proof() {
        for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
            assert!(passes(&method, &[("sec-fetch-site", "cross-site")]));
        }
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            assert!(!passes(&method, &[]), "{method} without proof");
            assert!(passes(&method, &[("sec-fetch-site", "same-origin")]));
        }
    }

    #[test]
    fn sec_fetch_site_decides_where_it_is_sent() {
        let own = ("origin", "https://rain.example");
        for site in ["cross-site", "same-site", "none", "", "SAME-ORIGIN"] {
            assert!(
                !passes(&Method::POST, &[("sec-fetch-site", site), own]),
                "{site}"
            );
        }
        let twice = [
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-site", "cross-site"),
        ];
        assert!(!passes(&Method::POST, &twice));
    }

    #[test]
    fn an_origin_must_be_the_host_or_the_public_url() {
        let host = ("host", "10.0.0.5:8080");
        for (origin, expected) in [
            ("http://10.0.0.5:8080", true),
            ("https://rain.example", true),
            ("http://rain.example", false),
            ("https://rain.example:444", false),
            ("https://rain.example.evil.test", false),
            ("https://evil.test", false),
            ("http://10.0.0.5", false),
            ("http://10.0.0.5:80800", false),
            ("null", false),
            ("", false),
            ("http://", false),
            ("ftp://10.0.0.5:8080", false),
        ] {
            assert_eq!(
                passes(&Method::POST, &[host, ("origin", origin)]),
                expected,
                "{origin}"
            );
        }
        let twice = [
            host,
            ("origin", "http://10.0.0.5:8080"),
            ("origin", "http://evil.test"),
        ];
        assert!(!passes(&Method::POST, &twice));
        assert!(!passes(
            &Method::POST,
            &[("host", ""), ("origin", "http://")]
        ));
    }

    #[test]
    fn only_an_https_public_url_makes_cookies_secure() {
        assert!(OriginRules::new(Some("https://rain.example")).secure());
        assert!(!OriginRules::new(Some("http://rain.example")).secure());
        assert!(!OriginRules::new(None).secure());
    }
}
