//! Answers in their order, to the last that a connection gets.

use std::time::Duration;

use super::*;

#[tokio::test]
async fn answers_leave_in_the_order_of_their_requests() {
    for seed in 0..300 {
        let mut dice = Dice(seed);
        let (mut requests, mut expected) = (String::new(), Vec::new());
        for n in 0..1 + dice.roll(30) {
            match dice.roll(6) {
                4 | 5 => {
                    let pause = "/".repeat(dice.roll(5) as usize);
                    requests += &format!("POST /wait/{n}{pause} HTTP/1.1\r\nHost: h\r\n\r\n");
                    expected.push(format!("lane /wait/{n}{pause}"));
                }
                0 | 1 => {
                    requests += &format!("POST /fast/{n} HTTP/1.1\r\nHost: h\r\n\r\n");
                    expected.push(format!("lane /fast/{n}"));
                }
                2 => {
                    requests += &format!("GET /slow/{n} HTTP/1.1\r\n\r\n");
                    expected.push(format!("hyper /slow/{n} "));
                }
                _ => {
                    // A grab with a body is hyper's, and what its body looks like is no request.
                    let body = "POST /fast/x HTTP/1.1\r\n\r\n".repeat(dice.roll(40) as usize + 1);
                    let length = body.len();
                    requests += &format!(
                        "POST /fast/{n} HTTP/1.1\r\nContent-Length: {length}\r\n\r\n{body}"
                    );
                    expected.push(format!("hyper /fast/{n} {body}"));
                }
            }
        }
        let (room, part) = (1 + dice.roll(3_000) as usize, 1 + dice.roll(2_000));
        let bodies = expected.len();
        let exchange = exchange(room, &requests, || 1 + dice.roll(part) as usize, bodies);
        let answers = tokio::time::timeout(Duration::from_secs(20), exchange).await;
        let answers = answers.unwrap_or_else(|_| panic!("no answer; seed {seed}"));
        assert_eq!(answers, expected, "seed {seed}");
    }
}

#[tokio::test]
async fn an_unusual_request_is_the_connection_s_last() {
    let chunked =
        "POST /fast/1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let fast = "POST /fast/0 HTTP/1.1\r\n\r\n";
    let requests = format!("{fast}{chunked}{fast}");
    let answers = exchange(1_000, &requests, || 1_000, usize::MAX).await;
    assert_eq!(answers, ["lane /fast/0", "hyper /fast/1 abc"]);
    for (refused, code) in [
        ("POST /fast HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx".to_owned(), 400),
        ("POST /fast HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(), 400),
        ("\u{1}\u{2} / HTTP/1.1\r\n\r\n".to_owned(), 400),
        (format!("POST /fast HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(HEAD_BYTES_MAX)), 431),
    ] {
        let answers = exchange(64, &format!("{refused}{fast}"), || 500, usize::MAX).await;
        assert_eq!(answers.len(), 1, "{refused:.60}: {answers:?}");
        assert_eq!(answers[0], format!("Some({code})"), "{refused:.60}");
    }
}

#[tokio::test]
async fn the_end_of_the_peer_is_the_end() {
    for sent in ["", "POST /fa", "POST /fast/1 HTTP/1.1\r\n\r\nPO"] {
        let mut client = connect(1_000);
        client.write_all(sent.as_bytes()).await.unwrap();
        client.shutdown().await.unwrap();
        let mut received = String::new();
        client.read_to_string(&mut received).await.unwrap();
        assert_eq!(
            received.contains("lane /fast/1"),
            sent.ends_with("PO"),
            "{sent:?}"
        );
    }
}

#[tokio::test]
async fn what_was_asked_before_the_peer_s_end_is_answered() {
    let fast = Fast::new();
    let mut client = connect_to(fast.clone(), 1_000, CancellationToken::new());
    let asks = "POST /held/1 HTTP/1.1\r\n\r\nPOST /fast/2 HTTP/1.1\r\n\r\n";
    client.write_all(asks.as_bytes()).await.unwrap();
    client.shutdown().await.unwrap();
    settle().await;
    fast.gate.add_permits(1);
    let mut received = String::new();
    client.read_to_string(&mut received).await.unwrap();
    let bodies: Vec<_> = received.matches("lane /").collect();
    assert_eq!(bodies.len(), 2, "{received}");
    assert!(received.ends_with("lane /fast/2"), "{received}");
}
