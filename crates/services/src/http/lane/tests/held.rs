//! Answers that take a wait.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::*;

#[tokio::test]
async fn a_peer_that_goes_away_takes_its_answer_with_it() {
    let held = "POST /held HTTP/1.1\r\n\r\n";
    // Whatever was answered before, and whether or not the beginning of more has come.
    for (sent, half) in [
        ("", false),
        ("", true),
        ("POST /fast HTTP/1.1\r\n\r\n", false),
    ] {
        let fast = Fast::new();
        let mut client = connect_to(fast.clone(), 1_000, CancellationToken::new());
        client.write_all(sent.as_bytes()).await.unwrap();
        client.write_all(held.as_bytes()).await.unwrap();
        settle().await;
        assert_eq!(fast.under_way(), 1, "{sent:?}");
        if half {
            // As with hyper, a half-closed connection is one that nobody listens at.
            client.shutdown().await.unwrap();
        } else {
            drop(client);
        }
        settle().await;
        assert_eq!(Arc::strong_count(&fast.gate), 1, "the connection is gone");
    }
}

#[tokio::test]
async fn a_held_answer_bounds_what_is_read_behind_it() {
    let (fast, room) = (Fast::new(), 500);
    let client = connect_to(fast.clone(), room, CancellationToken::new());
    let (mut from, mut to) = tokio::io::split(client);
    let sent = Arc::<AtomicU32>::default();
    let asks = 2_000;
    let sending = tokio::spawn({
        let sent = sent.clone();
        async move {
            to.write_all(b"POST /held HTTP/1.1\r\n\r\n").await.unwrap();
            for n in 0..asks {
                let way = ["fast", "wait"][n % 2];
                let ask = format!("POST /{way}/{n} HTTP/1.1\r\n\r\n");
                to.write_all(ask.as_bytes()).await.unwrap();
                sent.fetch_add(ask.len() as u32, Relaxed);
            }
            to
        }
    });
    settle().await;
    let read_ahead = sent.load(Relaxed) as usize;
    assert!(read_ahead <= HEAD_BYTES_MAX + room, "{read_ahead} bytes");
    assert!(!sending.is_finished(), "there was more to send");
    fast.gate.add_permits(1);
    let (mut received, mut answers) = (Vec::new(), Vec::new());
    while answers.len() <= asks {
        let mut part = [0; 4_096];
        let read = from.read(&mut part).await.unwrap();
        assert!(read > 0, "ended after {}", answers.len());
        received.extend_from_slice(&part[..read]);
        while let Some((body, length)) = first_answer(&received) {
            answers.push(body);
            received.drain(..length);
        }
    }
    assert_eq!(answers[0], "lane /held");
    for (n, answer) in answers[1..].iter().enumerate() {
        assert_eq!(*answer, format!("lane /{}/{n}", ["fast", "wait"][n % 2]));
    }
    sending.await.unwrap();
}

#[tokio::test]
async fn a_request_that_meets_the_stop_is_answered() {
    for (ask, answer) in [
        ("GET /slow HTTP/1.1\r\n\r\n", "hyper /slow "),
        ("POST /fast HTTP/1.1\r\n\r\n", "lane /fast"),
    ] {
        let stopping = CancellationToken::new();
        let mut client = connect_to(Fast::new(), 1_000, stopping.clone());
        settle().await;
        // The connection sees both at once.
        let sent = client.write_all(ask.as_bytes());
        assert!(
            futures_util::poll!(Box::pin(sent)).is_ready(),
            "there is room"
        );
        stopping.cancel();
        let mut received = String::new();
        client.read_to_string(&mut received).await.unwrap();
        assert!(received.ends_with(answer), "{received}");
    }
}

#[tokio::test]
async fn a_stopping_server_gives_the_answer_that_is_under_way() {
    let ask = "POST /held HTTP/1.1\r\n\r\n";
    // On a new connection, and on those whose last answer was the lane's or hyper's.
    for before in [
        "",
        "POST /fast HTTP/1.1\r\n\r\n",
        "GET /slow HTTP/1.1\r\n\r\n",
    ] {
        let (fast, stopping) = (Fast::new(), CancellationToken::new());
        let mut client = connect_to(fast.clone(), 1_000, stopping.clone());
        client.write_all(before.as_bytes()).await.unwrap();
        let mut first = Vec::new();
        while !before.is_empty() && first_answer(&first).is_none() {
            first.push(client.read_u8().await.unwrap());
        }
        // What stands behind it is not answered any more, and may be asked again elsewhere.
        let asks = format!("{ask}POST /fast/behind HTTP/1.1\r\n\r\n");
        client.write_all(asks.as_bytes()).await.unwrap();
        settle().await;
        stopping.cancel();
        settle().await;
        assert_eq!(fast.under_way(), 1, "after {before:?}");
        fast.gate.add_permits(1);
        let mut received = String::new();
        client.read_to_string(&mut received).await.unwrap();
        assert!(
            received.starts_with("HTTP/1.1 200 OK\r\nconnection: close\r\n"),
            "{received}"
        );
        assert!(received.ends_with("\r\n\r\nlane /held"), "{received}");
    }
}
