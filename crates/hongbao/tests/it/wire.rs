//! Rubbish on raw sockets: it is refused or hung up on, and the server stays well.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use crate::{
    client::serve,
    sample::{plain, token},
    server::Server,
};

/// Nothing is asserted about time; a connection still open after this fails the test.
const OPEN_MAX: Duration = Duration::from_secs(60);

/// Sends `bytes`, and gives all that came back until the server hung up.
fn exchange(server: &Server, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(&server.address).expect("it listens");
    stream
        .set_read_timeout(Some(OPEN_MAX))
        .expect("a socket takes a time-out");
    stream
        .set_write_timeout(Some(OPEN_MAX))
        .expect("a socket takes a time-out");
    // The server may hang up before it has read everything.
    drop(stream.write_all(bytes));
    read_to_end(&mut stream)
}

fn read_to_end(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    let mut part = [0; 4096];
    loop {
        match stream.read(&mut part) {
            Ok(0) => break,
            Ok(n) => all.extend_from_slice(&part[..n]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                panic!(
                    "the connection stays open: {}",
                    String::from_utf8_lossy(&all)
                )
            }
            // A reset is a way to hang up.
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&all).into_owned()
}

fn status(reply: &str) -> Option<u16> {
    reply.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()
}

fn assert_refused(what: &str, reply: &str) {
    let refused =
        reply.is_empty() || status(reply).is_some_and(|status| (400..500).contains(&status));
    assert!(refused, "{what} was answered {reply}");
    assert!(
        !reply.contains("HTTP/1.1 200"),
        "{what} got something through: {reply}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn garbled_requests() {
    let (_folder, server, client) = serve();
    let campaign = client.create(&plain(5)).await;
    let huge_header = format!(
        "GET /healthz HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n",
        "x".repeat(1024 * 1024)
    );
    let many_headers = format!(
        "GET /healthz HTTP/1.1\r\nHost: x\r\n{}\r\n",
        "A: b\r\n".repeat(20_000)
    );
    let huge_path = format!(
        "GET /{} HTTP/1.1\r\nHost: x\r\n\r\n",
        "x".repeat(1024 * 1024)
    );
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("noise", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 not TLS here\r\n\r\n".to_vec()),
        ("no version", b"GET /healthz\r\n\r\n".to_vec()),
        ("a version of the future", b"GET /healthz HTTP/9.9\r\nHost: x\r\n\r\n".to_vec()),
        ("a header without a colon", b"GET /healthz HTTP/1.1\r\nHost: x\r\nrubbish\r\n\r\n".to_vec()),
        ("a blank in a header's name", b"GET /healthz HTTP/1.1\r\nHost : x\r\n\r\n".to_vec()),
        ("a zero byte", b"GET /heal\0thz HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        ("a length that is none", b"POST /account/sessions HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n".to_vec()),
        ("a negative length", b"POST /account/sessions HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n".to_vec()),
        ("two lengths", b"POST /account/sessions HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}".to_vec()),
        ("a huge header", huge_header.into_bytes()),
        ("many headers", many_headers.into_bytes()),
        ("a huge path", huge_path.into_bytes()),
    ];
    for (what, bytes) in cases {
        let reply = tokio::task::block_in_place(|| exchange(&server, &bytes));
        assert_refused(what, &reply);
    }
    client.grab(&campaign, "ming").await.win();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_smuggled_request_is_not_answered() {
    let (_folder, server, client) = serve();
    let campaign = client.create(&plain(5)).await;
    let bearer = token("ming");
    for path in [
        "/account/sessions".to_owned(),
        format!("/redpacket/campaigns/{campaign}/grab"),
    ] {
        let both = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {bearer}\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n\
             0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        );
        let reply = tokio::task::block_in_place(|| exchange(&server, both.as_bytes()));
        assert_refused("a request with two lengths", &reply);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_heads_and_slow_bodies_are_hung_up_on() {
    let (_folder, server, client) = serve();
    let campaign = client.create(&plain(5)).await;
    let starts = [
        "GET /healthz HTTP/1.1\r\nHost: x\r\n".to_owned(),
        "POST /account/sessions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{\"co".to_owned(),
        String::new(),
    ];
    let waiting: Vec<_> = starts
        .into_iter()
        .map(|start| {
            let address = server.address.clone();
            std::thread::spawn(move || {
                let mut stream = TcpStream::connect(address).expect("it listens");
                stream
                    .set_read_timeout(Some(OPEN_MAX))
                    .expect("a socket takes a time-out");
                stream.write_all(start.as_bytes()).unwrap();
                let reply = read_to_end(&mut stream);
                (start, reply)
            })
        })
        .collect();
    // Meanwhile everybody else is served.
    client.grab(&campaign, "ming").await.win();
    for thread in waiting {
        let (start, reply) = tokio::task::block_in_place(|| thread.join().unwrap());
        assert!(
            !reply.contains("HTTP/1.1 200"),
            "`{start}` was answered {reply}"
        );
    }
}
