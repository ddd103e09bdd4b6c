//! Statistics of a service that has no time to count all.

use std::sync::atomic::AtomicU32;

use super::*;
use crate::sls::statistics::{Grabs, StatisticsError, read};

/// A service that counts all at the last of so many calls.
struct Slow {
    calls: u32,
    asked: AtomicU32,
}

#[async_trait]
impl Offline for Slow {
    async fn answer(&self, _request: Request<Bytes>) -> Response<Bytes> {
        let asked = self.asked.fetch_add(1, Relaxed) + 1;
        let progress = match asked < self.calls {
            true => "Incomplete",
            false => "Complete",
        };
        let row = format!(r#"{{"part":"0","outcome":"won","reason":"","grabs":"{asked}"}}"#);
        let body = format!(r#"{{"meta":{{"progress":"{progress}"}},"data":[{row}]}}"#);
        Response::new(Bytes::from(body))
    }
}

/// What is read of a service that takes so many calls, and how often it was asked.
async fn asked_of_one_that_takes(calls: u32) -> (Result<Vec<Grabs>, StatisticsError>, u32) {
    let slow = Arc::new(Slow {
        calls,
        asked: AtomicU32::new(0),
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
    let shutdown = CancellationToken::new();
    tokio::spawn(serve(listener, slow.clone(), shutdown.clone()));
    let _stops = shutdown.drop_guard();
    let client = Client::open(
        &endpoint,
        "rain",
        credentials(),
        Signature::V1,
        Arc::new(TestClock),
        Patience::default(),
    );
    let client = client.expect("a plain endpoint");
    let read = read(&client, "grabs", campaign(1), (0, 60), 60).await;
    (read, slow.asked.load(Relaxed))
}

#[tokio::test]
async fn a_service_that_has_not_counted_all_is_asked_again_and_not_for_ever() {
    let (read, asked) = asked_of_one_that_takes(4).await;
    let grabs: Vec<u64> = read.expect("at last").iter().map(|g| g.grabs).collect();
    // Only the last answer counts.
    assert_eq!((grabs.as_slice(), asked), ([4].as_slice(), 4));
    let (read, asked) = asked_of_one_that_takes(u32::MAX).await;
    assert!(matches!(read, Err(StatisticsError::Incomplete)), "{read:?}");
    assert_eq!(asked, 4);
}
