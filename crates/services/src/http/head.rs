//! A request's head, read where it lies, as far as it says how the request is framed and
//! whether it is answered at once.
//!
//! It is stricter than HTTP need be: whatever is unusual is [`Framing::Unusual`] and left to
//! hyper, so that two readers of one request never disagree about where it ends.

use std::mem::MaybeUninit;

use httparse::{Header, Status};

/// The most headers of a request.
pub(crate) const HEADERS_MAX: usize = 64;

/// Room for the headers of one request.
pub(crate) type Room<'b> = [MaybeUninit<Header<'b>>; HEADERS_MAX];

/// Room for the headers of one request, as yet empty.
pub(crate) const fn room<'b>() -> Room<'b> {
    [const { MaybeUninit::uninit() }; HEADERS_MAX]
}

/// A complete head.
pub(crate) struct Head<'r, 'b> {
    /// As sent, such as `POST`.
    pub(crate) method: &'b str,
    /// The target as sent, its query included.
    pub(crate) target: &'b str,
    /// Its length in bytes, the empty line at its end included.
    pub(crate) bytes: usize,
    version: u8,
    headers: &'r [Header<'b>],
}

/// What begins a connection's bytes.
pub(crate) enum Found<'r, 'b> {
    /// The beginning of a head, or nothing.
    Incomplete,
    /// A head.
    Head(Head<'r, 'b>),
    /// No head of HTTP/1.
    Rubbish,
}

/// How a request is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// A body of so many bytes follows the head, and further requests may follow it.
    Length(u64),
    /// A length and a coding: two ends, and a proxy in front may have taken the other one. No
    /// honest client sends that, so the request is refused (RFC 9112, 6.1).
    TwoEnds,
    /// Anything else: another version, a coded body, a wish to close, to upgrade, to tunnel, to
    /// wait.
    Unusual,
}

impl<'r, 'b> Head<'r, 'b> {
    /// The head that `bytes` begin with.
    pub(crate) fn find(bytes: &'b [u8], room: &'r mut Room<'b>) -> Found<'r, 'b> {
        let mut request = httparse::Request::new(&mut []);
        match request.parse_with_uninit_headers(bytes, room) {
            Ok(Status::Partial) => Found::Incomplete,
            Err(_) => Found::Rubbish,
            Ok(Status::Complete(length)) => match (request.method, request.path, request.version) {
                (Some(method), Some(target), Some(version)) => Found::Head(Self {
                    method,
                    target,
                    bytes: length,
                    version,
                    headers: request.headers,
                }),
                _ => Found::Rubbish,
            },
        }
    }

    /// The values of the headers of this name, in any case, in their order.
    pub(crate) fn all(&self, name: &str) -> impl DoubleEndedIterator<Item = &'b [u8]> {
        let named = self.headers.iter();
        named
            .filter(move |header| header.name.eq_ignore_ascii_case(name))
            .map(|header| header.value)
    }

    /// How the request is framed.
    pub(crate) fn framing(&self) -> Framing {
        if self.version != 1 || self.method == "CONNECT" {
            return Framing::Unusual;
        }
        let (mut length, mut lengths) = (None, 0);
        let (mut coded, mut unusual) = (false, false);
        for header in self.headers {
            // Lengths first: nearly every header is ruled out by its length.
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            match header.name.len() {
                14 if is("content-length") => {
                    length = digits(header.value);
                    lengths += 1;
                    // Twice, or no number: whoever guesses may guess otherwise than a proxy.
                    unusual |= length.is_none() || lengths > 1;
                }
                10 if is("connection") => {
                    unusual |= !header.value.eq_ignore_ascii_case(b"keep-alive");
                }
                17 if is("transfer-encoding") => coded = true,
                7 if is("upgrade") => unusual = true,
                6 if is("expect") => unusual = true,
                _ => {}
            }
        }
        if coded && lengths > 0 {
            Framing::TwoEnds
        } else if coded || unusual {
            Framing::Unusual
        } else {
            Framing::Length(length.unwrap_or(0))
        }
    }
}

/// A number of plain digits, few enough to be surely one.
fn digits(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 15 || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framing(head: &str) -> Framing {
        let mut room = room();
        match Head::find(head.as_bytes(), &mut room) {
            Found::Head(head) => head.framing(),
            Found::Incomplete | Found::Rubbish => panic!("no head: {head:?}"),
        }
    }

    #[test]
    fn only_plain_requests_have_a_length() {
        let with = |header: &str| framing(&format!("POST /x HTTP/1.1\r\nHost: h\r\n{header}\r\n"));
        assert_eq!(with(""), Framing::Length(0));
        assert_eq!(with("Content-Length: 0\r\n"), Framing::Length(0));
        assert_eq!(with("content-length: 17\r\n"), Framing::Length(17));
        assert_eq!(with("Connection: Keep-Alive\r\n"), Framing::Length(0));
        for unusual in [
            "Content-Length: 1\r\nContent-Length: 1\r\n",
            "Content-Length: 1, 1\r\n",
            "Content-Length: +1\r\n",
            "Content-Length:\r\n",
            "Content-Length: 99999999999999999999\r\n",
            "Transfer-Encoding: chunked\r\n",
            "transfer-encoding: identity\r\n",
            "Connection: close\r\n",
            "Connection: keep-alive, upgrade\r\n",
            "Upgrade: h2c\r\n",
            "Expect: 100-continue\r\n",
        ] {
            assert_eq!(with(unusual), Framing::Unusual, "{unusual:?}");
            let both = format!("{unusual}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n");
            assert_eq!(with(&both), Framing::TwoEnds, "{both:?}");
        }
        assert_eq!(framing("GET / HTTP/1.0\r\n\r\n"), Framing::Unusual);
        assert_eq!(framing("CONNECT h:1 HTTP/1.1\r\n\r\n"), Framing::Unusual);
    }

    #[test]
    fn a_head_ends_with_its_empty_line() {
        let text = "POST /a?b HTTP/1.1\r\nX-One: 1\r\nx-one: 2\r\n\r\nPOST";
        for cut in 0..text.len() - 4 {
            let mut room = room();
            let found = Head::find(&text.as_bytes()[..cut], &mut room);
            assert!(matches!(found, Found::Incomplete), "cut at {cut}");
        }
        let mut room = room();
        let Found::Head(head) = Head::find(text.as_bytes(), &mut room) else {
            panic!("no head");
        };
        assert_eq!((head.method, head.target), ("POST", "/a?b"));
        assert_eq!(head.bytes, text.len() - 4);
        assert_eq!(head.all("x-one").collect::<Vec<_>>(), [b"1", b"2"]);
        for rubbish in [
            "POST / HTTP/3.0\r\n\r\n",
            "\u{1}\r\n\r\n",
            "GET / HTTP/1.1\r\n: x\r\n\r\n",
        ] {
            let mut room = super::room();
            let found = Head::find(rubbish.as_bytes(), &mut room);
            assert!(matches!(found, Found::Rubbish), "{rubbish:?}");
        }
    }
}
