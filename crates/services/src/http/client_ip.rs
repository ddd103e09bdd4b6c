//! The address a request comes from: what rate limits and back-off are keyed by.
//!
//! `X-Forwarded-For` is written by whoever sends the request; only what a configured proxy has
//! appended is believed. Never take its leftmost entry: that is the caller's to invent.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use axum::{
    extract::{FromRequestParts, Request, State},
    middleware::Next,
    response::Response,
};
use http::{HeaderMap, HeaderValue, request::Parts};
use ipnet::IpNet;

use super::ApiError;

/// What proxies write the client's address into.
pub(crate) const FORWARDED_FOR: &str = "x-forwarded-for";

/// The other end of the connection. The server puts it into each request's extensions.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// The address of the client itself, as far as it can be known. An extractor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientIp(pub IpAddr);

impl ClientIp {
    /// What limits are keyed by: IPv4 as it is; of IPv6 the /64, which one subscriber owns whole.
    #[must_use]
    pub fn key(self) -> IpAddr {
        match self.0.to_canonical() {
            IpAddr::V4(v4) => IpAddr::V4(v4),
            IpAddr::V6(v6) => {
                let network = u128::from(v6) >> 64 << 64;
                IpAddr::V6(Ipv6Addr::from(network))
            }
        }
    }

    /// Whether the client is on this machine.
    #[must_use]
    pub fn is_loopback(self) -> bool {
        self.0.to_canonical().is_loopback()
    }
}

/// The proxies whose `X-Forwarded-For` is believed; by default none.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Vec<IpNet>);

/// A configured proxy that is neither an address nor a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither an IP address nor a network such as 10.0.0.0/8")]
pub struct BadProxy(String);

impl TrustedProxies {
    /// The proxies at these addresses or in these networks (CIDR).
    ///
    /// # Errors
    /// The first entry that is neither.
    pub fn parse<T: AsRef<str>>(entries: impl IntoIterator<Item = T>) -> Result<Self, BadProxy> {
        let parse = |entry: T| {
            let entry = entry.as_ref().trim();
            let address = entry.parse::<IpAddr>().map(IpNet::from);
            address
                .or_else(|_| entry.parse::<IpNet>())
                .map_err(|_| BadProxy(entry.to_owned()))
        };
        let networks: Result<_, _> = entries.into_iter().map(parse).collect();
        networks.map(Self)
    }

    fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// The client's address: the peer's own, unless the peer is a trusted proxy; then the rightmost
/// `X-Forwarded-For` entry that is none. An entry that is no address ends the search, and what
/// forwarded it is taken for the client.
#[must_use]
pub fn client_ip(headers: &HeaderMap, peer: IpAddr, trusted: &TrustedProxies) -> ClientIp {
    let lines = headers.get_all(FORWARDED_FOR).iter();
    client_ip_by(lines.map(HeaderValue::as_bytes), peer, trusted)
}

/// As [`client_ip`], of the values of [`FORWARDED_FOR`].
pub(crate) fn client_ip_by<'h>(
    lines: impl DoubleEndedIterator<Item = &'h [u8]>,
    peer: IpAddr,
    trusted: &TrustedProxies,
) -> ClientIp {
    let mut client = peer.to_canonical();
    let text = |line| std::str::from_utf8(line).unwrap_or("?");
    let entries = lines.rev().flat_map(|line| text(line).rsplit(','));
    for entry in entries {
        if !trusted.trusts(client) {
            break;
        }
        match parse_entry(entry.trim()) {
            Some(address) => client = address.to_canonical(),
            None => break,
        }
    }
    ClientIp(client)
}

/// An address, with or without a port, as proxies write them.
fn parse_entry(entry: &str) -> Option<IpAddr> {
    let bare = entry
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(entry);
    bare.parse()
        .ok()
        .or_else(|| Some(entry.parse::<SocketAddr>().ok()?.ip()))
}

/// Middleware: finds the client's address, for the [`ClientIp`] extractor.
pub async fn with_client_ip(
    State(trusted): State<Arc<TrustedProxies>>,
    mut request: Request,
    next: Next,
) -> Response {
    if let Some(Peer(peer)) = request.extensions().get::<Peer>() {
        let client = client_ip(request.headers(), peer.ip(), &trusted);
        request.extensions_mut().insert(client);
    }
    next.run(request).await
}

impl<S: Send + Sync> FromRequestParts<S> for ClientIp {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        // Without a peer (a router called directly, as tests do) the caller is this process.
        let here = Self(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));
        Ok(parts.extensions.get::<Self>().copied().unwrap_or(here))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(peer: &str, forwarded: &[&'static str]) -> String {
        let trusted = TrustedProxies::parse(["10.0.0.0/8", "fd00::/8", "192.0.2.7"]).unwrap();
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append("x-forwarded-for", HeaderValue::from_static(line));
        }
        client_ip(&headers, peer.parse().unwrap(), &trusted)
            .0
            .to_string()
    }

    #[test]
    fn a_stranger_cannot_claim_another_address() {
        assert_eq!(seen("203.0.113.9", &["198.51.100.1"]), "203.0.113.9");
        assert_eq!(seen("203.0.113.9", &["10.0.0.1"]), "203.0.113.9");
        // Through the proxy, what the client itself wrote stands to the left of the truth.
        assert_eq!(
            seen("10.0.0.1", &["198.51.100.1, 203.0.113.9"]),
            "203.0.113.9"
        );
        assert_eq!(
            seen("10.0.0.1", &["198.51.100.1", "203.0.113.9"]),
            "203.0.113.9"
        );
    }

    #[test]
    fn a_chain_of_trusted_proxies_is_walked_from_the_right() {
        assert_eq!(
            seen("10.0.0.1", &["1.1.1.1, 203.0.113.9, 10.2.3.4, 192.0.2.7"]),
            "203.0.113.9"
        );
        assert_eq!(seen("::ffff:10.0.0.1", &["203.0.113.9"]), "203.0.113.9");
        assert_eq!(seen("fd00::1", &["2001:db8::5"]), "2001:db8::5");
        assert_eq!(seen("10.0.0.1", &["10.0.0.9"]), "10.0.0.9");
    }

    #[test]
    fn rubbish_ends_the_search() {
        assert_eq!(seen("10.0.0.1", &["203.0.113.9, unknown"]), "10.0.0.1");
        assert_eq!(
            seen("10.0.0.1", &["203.0.113.9, rubbish, 10.9.9.9"]),
            "10.9.9.9"
        );
        assert_eq!(seen("10.0.0.1", &[""]), "10.0.0.1");
        assert_eq!(seen("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn entries_may_carry_ports_and_brackets() {
        assert_eq!(seen("10.0.0.1", &["203.0.113.9:4711"]), "203.0.113.9");
        assert_eq!(seen("10.0.0.1", &["[2001:db8::5]:80"]), "2001:db8::5");
        assert_eq!(seen("10.0.0.1", &["[2001:db8::5]"]), "2001:db8::5");
    }

    #[test]
    fn ipv6_is_keyed_by_its_64() {
        let key = |text: &str| ClientIp(text.parse().unwrap()).key().to_string();
        assert_eq!(key("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(key("::ffff:192.0.2.1"), "192.0.2.1");
        assert_eq!(key("192.0.2.1"), "192.0.2.1");
        assert!(ClientIp("::ffff:127.0.0.1".parse().unwrap()).is_loopback());
    }

    #[test]
    fn a_bad_proxy_is_named() {
        let refusal = TrustedProxies::parse(["10.0.0.1", "10.0.0.0/40"]).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "`10.0.0.0/40` is neither an IP address nor a network such as 10.0.0.0/8"
        );
    }
}
