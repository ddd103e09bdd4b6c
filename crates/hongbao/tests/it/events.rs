//! The campaign's server-sent events, and what `Last-Event-ID` brings back.

use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::json;

use crate::{
    client::{Client, serve},
    sample::{number, plain, with},
    until::until,
};

/// Only ends a test that would otherwise hang.
const EVENT_MAX: Duration = Duration::from_secs(30);

#[derive(Clone, Debug, Default)]
struct Event {
    name: String,
    id: String,
    data: String,
}

impl Event {
    /// The packets in opened waves, by then.
    fn issued(&self) -> u64 {
        let campaign: serde_json::Value = serde_json::from_str(&self.data).expect("JSON");
        number(&campaign["packets_issued"])
    }
}

struct Events {
    bytes: futures_util::stream::BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    text: String,
}

impl Events {
    async fn open(client: &Client, campaign: &str, last: Option<&str>) -> Self {
        let path = format!("/redpacket/campaigns/{campaign}/events");
        let mut request = client.request(reqwest::Method::GET, &path);
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        let response = request.send().await.expect("the server answers");
        assert_eq!(response.status().as_u16(), 200);
        let kind = response.headers()["content-type"]
            .to_str()
            .expect("ASCII")
            .to_owned();
        assert!(kind.starts_with("text/event-stream"), "{kind}");
        Self {
            bytes: response.bytes_stream().boxed(),
            text: String::new(),
        }
    }

    /// The next event; comments (heartbeats) are passed over.
    async fn next(&mut self) -> Event {
        loop {
            while let Some(end) = self.text.find("\n\n") {
                let block: String = self.text.drain(..end + 2).collect();
                let mut event = Event::default();
                for line in block.lines() {
                    match line.split_once(':') {
                        Some(("event", value)) => event.name = value.trim().into(),
                        Some(("id", value)) => event.id = value.trim().into(),
                        Some(("data", value)) => event.data.push_str(value.trim()),
                        _ => {}
                    }
                }
                if !event.name.is_empty() {
                    return event;
                }
            }
            let chunk = tokio::time::timeout(EVENT_MAX, self.bytes.next()).await;
            let chunk = chunk
                .expect("an event comes")
                .expect("the stream stays open");
            self.text
                .push_str(std::str::from_utf8(&chunk.expect("no break")).expect("UTF-8"));
        }
    }

    async fn wait_for(&mut self, name: &str) -> Event {
        loop {
            let event = self.next().await;
            if event.name == name {
                return event;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn waves_sold_out_and_the_end_are_told() {
    let (_folder, _server, client) = serve();
    let waves = json!({"batches": 3, "interval_seconds": 1});
    let campaign = client.create(&with(plain(3), waves)).await;

    let mut events = Events::open(&client, &campaign, None).await;
    let state = events.wait_for("state").await;
    let state: serde_json::Value = serde_json::from_str(&state.data).expect("JSON");
    assert_eq!(state["state"], "running", "{state}");
    let opened = events.wait_for("wave_opened").await;
    assert!(
        !opened.id.is_empty(),
        "an event without an id cannot be resumed from"
    );

    // Whoever was away in between is told what it missed.
    drop(events);
    for user in 0..3 {
        let user = format!("user-{user}");
        until("the next wave is won", async || {
            let answer = client.grab(&campaign, &user).await;
            (!answer.missed("between_waves")).then(|| answer.win())
        })
        .await;
    }
    let mut events = Events::open(&client, &campaign, Some(&opened.id)).await;
    let mut issued = opened.issued();
    loop {
        let event = events.next().await;
        match event.name.as_str() {
            // On a machine that stood still, two waves may be told as one.
            "wave_opened" => {
                assert!(event.issued() > issued, "out of order: {event:?}");
                issued = event.issued();
            }
            "state" => {}
            "sold_out" => break,
            _ => panic!("too early: {event:?}"),
        }
    }
    assert_eq!(issued, 3, "a wave was not told");
    client
        .post(
            &format!("/monitor/api/campaigns/{campaign}/close"),
            &json!({}),
        )
        .await
        .expect(200);
    events.wait_for("ended").await;

    let seen = client.request(
        reqwest::Method::GET,
        &format!("/redpacket/campaigns/{campaign}"),
    );
    let seen = crate::client::send(seen).await.expect(200);
    assert_eq!(seen["state"], "ended");
    assert!(
        seen["split_seed"].is_string(),
        "the seed is public after the end: {seen}"
    );
    assert_eq!(number(&seen["packets_total"]), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_events_of_an_unknown_campaign() {
    let (_folder, _server, client) = serve();
    let path = format!("/redpacket/campaigns/{}/events", uuid::Uuid::new_v4());
    let reply = crate::client::send(client.request(reqwest::Method::GET, &path)).await;
    reply.expect_error(404, "no_such_campaign");
}
