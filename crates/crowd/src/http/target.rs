//! Where the server is.

use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;

use crate::options::CrowdError;
use http::{HeaderValue, Uri};

/// A server's base URL, taken apart once.
#[derive(Clone)]
pub struct Target {
    /// As given, without a trailing slash, for messages.
    pub(crate) url: String,
    /// Scheme, host and port: where connections go.
    pub(crate) origin: Uri,
    /// What the `Host` header says.
    pub(crate) host: HeaderValue,
    /// What every path begins with; empty when the server is at the root.
    base_path: String,
    /// Makes plain and encrypted connections alike.
    pub(crate) connector: Connector,
}

/// How a connection is made.
#[derive(Clone)]
pub(crate) enum Connector {
    Plain(HttpConnector),
    Tls(HttpsConnector<HttpConnector>),
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Target({})", self.url)
    }
}

impl Target {
    /// The server at `url`, such as `http://127.0.0.1:8080` or `https://rain.example/app`.
    ///
    /// # Errors
    /// [`CrowdError::Options`] when it is no such URL, or when no root certificates are found for
    /// `https`.
    pub fn parse(url: &str) -> Result<Self, CrowdError> {
        let refuse = |why: &str| CrowdError::Options(format!("--url `{url}` {why}"));
        let uri: Uri = url
            .parse()
            .map_err(|cause| refuse(&format!("is no URL: {cause}")))?;
        let authority = uri
            .authority()
            .ok_or_else(|| refuse("must begin with http:// or https:// and name a host"))?;
        if authority.as_str().contains('@') {
            return Err(refuse("must not hold a password"));
        }
        if uri.query().is_some() {
            return Err(refuse("must not have a query"));
        }
        let mut plain = HttpConnector::new();
        plain.set_nodelay(true);
        let connector = match uri.scheme_str() {
            Some("http") => Connector::Plain(plain),
            Some("https") => {
                plain.enforce_http(false);
                let tls = hyper_rustls::HttpsConnectorBuilder::new()
                    .with_native_roots()
                    .map_err(|cause| {
                        refuse(&format!("needs the system's root certificates: {cause}"))
                    })?
                    .https_only()
                    .enable_http1()
                    .wrap_connector(plain);
                Connector::Tls(tls)
            }
            _ => return Err(refuse("must begin with http:// or https://")),
        };
        let host = HeaderValue::from_str(authority.as_str())
            .map_err(|_| refuse("has a host that no header can carry"))?;
        let base_path = uri.path().trim_end_matches('/').to_owned();
        Ok(Self {
            url: url.trim_end_matches('/').to_owned(),
            host,
            base_path,
            connector,
            origin: uri,
        })
    }

    /// The request target of `path`, which begins with a slash.
    ///
    /// # Panics
    /// When `path` has characters that must be escaped in a path; callers escape what users give.
    pub(crate) fn path(&self, path: &str) -> Uri {
        format!("{}{path}", self.base_path)
            .parse()
            .expect("paths are made of literals, ids and escaped text")
    }
}

/// `text` escaped for the value of a query parameter (RFC 3986: all but unreserved characters).
pub(crate) fn query_escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_appended_to_the_base() {
        let root = Target::parse("http://127.0.0.1:8080/").unwrap();
        assert_eq!(root.path("/healthz").to_string(), "/healthz");
        assert_eq!(root.url, "http://127.0.0.1:8080");
        let below = Target::parse("http://[::1]:8080/rain").unwrap();
        assert_eq!(below.path("/healthz").to_string(), "/rain/healthz");
        assert_eq!(below.host, "[::1]:8080");
    }

    #[test]
    fn what_is_no_base_url_is_refused() {
        for url in [
            "127.0.0.1:8080",
            "ftp://host",
            "http://a:b@host",
            "http://host/?a=b",
            "",
        ] {
            assert!(Target::parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_cursor_survives_the_query() {
        assert_eq!(query_escape("a+b/c=1&d"), "a%2Bb%2Fc%3D1%26d");
    }
}
