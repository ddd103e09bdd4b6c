//! How long a connection may ask nothing, and what it keeps meanwhile.

use std::time::Duration;

use super::{super::quiet::HEAD_WITHIN, *};

/// Trickling a head does not keep a connection, and requests do.
#[tokio::test(start_paused = true)]
async fn a_head_must_come_in_time() {
    let mut client = connect(1_000);
    let began = Instant::now();
    for _ in 0..3 {
        tokio::time::sleep(HEAD_WITHIN * 2 / 3).await;
        client
            .write_all(b"POST /fast/1 HTTP/1.1\r\n\r\n")
            .await
            .unwrap();
        let mut answer = [0; 500];
        assert!(client.read(&mut answer).await.unwrap() > 0, "it lives");
    }
    while client.write_all(b"P").await.is_ok() {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(began.elapsed() < HEAD_WITHIN * 4, "a trickle kept it");
    }
}

/// A connection whose first request came at once is closed as any other when it stays idle.
#[tokio::test(start_paused = true)]
async fn an_idle_connection_ends_whatever_its_last_answer_was() {
    for (sent, answer) in [
        ("POST /fast/1 HTTP/1.1\r\n\r\n", "lane /fast/1"),
        ("GET /slow/1 HTTP/1.1\r\n\r\n", "hyper /slow/1 "),
    ] {
        let mut client = connect(1_000);
        client.write_all(sent.as_bytes()).await.unwrap();
        let mut received = String::new();
        let ended = client.read_to_string(&mut received);
        let ended = tokio::time::timeout(HEAD_WITHIN * 2, ended).await;
        ended.expect("it ends").unwrap();
        assert!(received.ends_with(answer), "{received}");
    }
}

/// The time in which a head must come begins when the peer has been given its answers.
#[tokio::test(start_paused = true)]
async fn a_slow_reader_may_ask_again() {
    let mut client = connect(16);
    let ask = b"POST /fast/1 HTTP/1.1\r\n\r\n";
    for round in 0..2 {
        client.write_all(ask).await.unwrap();
        let mut received = Vec::new();
        while first_answer(&received).is_none() {
            tokio::time::sleep(HEAD_WITHIN / 8).await;
            let mut part = [0; 4];
            let read = client.read(&mut part).await.unwrap();
            assert!(read > 0, "ended in round {round}");
            received.extend_from_slice(&part[..read]);
        }
    }
}

/// An answer may take longer than a head, and the time for the next head begins behind it.
#[tokio::test(start_paused = true)]
async fn a_held_answer_is_not_a_late_head() {
    let fast = Fast::new();
    let mut client = connect_to(fast.clone(), 1_000, CancellationToken::new());
    client
        .write_all(b"POST /fast HTTP/1.1\r\n\r\nPOST /held HTTP/1.1\r\n\r\n")
        .await
        .unwrap();
    tokio::time::sleep(HEAD_WITHIN * 3).await;
    assert_eq!(fast.under_way(), 1);
    fast.gate.add_permits(1);
    tokio::time::sleep(HEAD_WITHIN * 2 / 3).await;
    client
        .write_all(b"POST /fast/2 HTTP/1.1\r\n\r\n")
        .await
        .unwrap();
    let mut received = String::new();
    client.read_to_string(&mut received).await.unwrap();
    assert!(received.ends_with("lane /fast/2"), "{received}");
    assert!(received.contains("lane /held"), "{received}");
}

/// What a connection had to keep for a while does not stay with it.
#[tokio::test]
async fn an_idle_connection_keeps_no_buffer() {
    let (mut client, server) = duplex(300);
    let (mut lane, turn) = Lane::new(server, Fast::new());
    let sent = "POST /fast/1 HTTP/1.1\r\nx: y";
    client.write_all(sent.as_bytes()).await.unwrap();
    let mut one = [0; 1];
    let mut passed = Box::pin(async move {
        let mut all = Vec::new();
        for _ in 0.."GET / HTTP/1.1\r\n\r\n".len() {
            lane.read_exact(&mut one).await.unwrap();
            all.push(one[0]);
        }
        assert_eq!(all, b"GET / HTTP/1.1\r\n\r\n");
        lane.flush().await.unwrap();
        lane
    });
    assert!(futures_util::poll!(&mut passed).is_pending());
    // Answers that do not fit into the pipe, and a request of hyper's behind them.
    let many = format!(
        "\r\n\r\n{}GET / HTTP/1.1\r\n\r\n",
        "POST /fast/2 HTTP/1.1\r\n\r\n".repeat(20)
    );
    let (mut from, mut to) = tokio::io::split(client);
    let (mut lane, ..) = tokio::join!(
        passed,
        async { to.write_all(many.as_bytes()).await.unwrap() },
        async {
            let mut received = Vec::new();
            for _ in 0..21 {
                while first_answer(&received).is_none() {
                    received.push(from.read_u8().await.unwrap());
                }
                received.clear();
            }
        },
    );
    drop(Answer::new(Full::<Bytes>::default(), turn));
    lane.flush().await.unwrap();
    assert!(futures_util::poll!(Box::pin(lane.read_exact(&mut one))).is_pending());
    assert_eq!((lane.waiting.capacity(), lane.unsent.capacity()), (0, 0));
}
