//! Where a project is called: its name is the first label of the host.

use std::net::IpAddr;

use http::HeaderValue;
use reqwest::Url;

use super::call::OpenError;

/// Whether `endpoint` is of the form that a client of `project` can be opened with.
///
/// # Errors
/// When it is of another form.
pub fn check_endpoint(endpoint: &str, project: &str) -> Result<(), OpenError> {
    address(endpoint, project)
        .map(|_| ())
        .ok_or(OpenError::Form)
}

/// Where to connect to for `project`, the Host header, and whether that is this very machine.
/// The project is part of the name, unless the endpoint is an address or this machine.
pub(super) fn address(endpoint: &str, project: &str) -> Option<(Url, HeaderValue, bool)> {
    let endpoint = endpoint.trim_end_matches('/');
    let endpoint = if endpoint.contains("://") {
        endpoint.to_owned()
    } else {
        format!("https://{endpoint}")
    };
    let mut url = Url::parse(&endpoint).ok()?;
    let plain = matches!(url.scheme(), "http" | "https")
        && url.path() == "/"
        && url.query().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    let name = url.host_str().filter(|_| plain && !project.is_empty())?;
    let address: Option<IpAddr> = name.trim_matches(['[', ']']).parse().ok();
    let is_local = name == "localhost" || address.is_some_and(|address| address.is_loopback());
    let named = format!("{project}.{name}");
    let host = match url.port() {
        Some(port) => format!("{named}:{port}"),
        None => named.clone(),
    };
    if address.is_none() && !is_local {
        url.set_host(Some(&named)).ok()?;
    }
    let host = HeaderValue::from_str(&host).ok()?;
    Some((url, host, is_local))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_project_is_part_of_the_name() {
        let shown = |endpoint: &str| {
            let (url, host, local) = address(endpoint, "rain")?;
            let host = host.to_str().expect("plain").to_owned();
            Some((url.to_string(), host, local))
        };
        let some = |url: &str, host: &str, local| Some((url.to_owned(), host.to_owned(), local));
        assert_eq!(
            shown("cn-hangzhou.log.aliyuncs.com"),
            some(
                "https://rain.cn-hangzhou.log.aliyuncs.com/",
                "rain.cn-hangzhou.log.aliyuncs.com",
                false
            )
        );
        assert_eq!(
            shown("http://sls.local:8080/"),
            some("http://rain.sls.local:8080/", "rain.sls.local:8080", false)
        );
        assert_eq!(
            shown("http://127.0.0.1:8080"),
            some("http://127.0.0.1:8080/", "rain.127.0.0.1:8080", true)
        );
        assert_eq!(
            shown("http://localhost"),
            some("http://localhost/", "rain.localhost", true)
        );
        for wrong in [
            "",
            "ftp://x",
            "https://x/y",
            "https://a@x",
            "https://:b@x",
            "https://x?y",
        ] {
            assert_eq!(shown(wrong), None, "{wrong}");
            assert!(check_endpoint(wrong, "rain").is_err(), "{wrong}");
        }
    }
}
