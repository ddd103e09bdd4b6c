//! The offline MNS, told the time: no sockets, and a clock that only tests move.

use std::path::Path;

use rules::Timestamp;
use tokio::time::Instant;

use super::*;
use crate::{sign, xml::Element};

mod journal;
mod messages;
mod queues;
mod requests;

/// Time from a day on, running with tokio's.
struct TokioClock(Instant);

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        let passed = i64::try_from(self.0.elapsed().as_micros()).expect("a short test");
        Timestamp::from_micros(1_795_381_111_000_000 + passed)
    }
}

/// A server and one who calls it.
struct Bench {
    server: OfflineMns,
    clock: Arc<TokioClock>,
}

/// What was answered.
#[derive(Debug)]
struct Answer {
    status: u16,
    root: Element,
}

impl Answer {
    /// The code of a refusal, or else nothing.
    fn code(&self) -> &str {
        self.root.text_of("Code").unwrap_or("")
    }

    fn refused(&self) -> (u16, &str) {
        (self.status, self.code())
    }

    fn text(&self, name: &str) -> &str {
        self.root
            .text_of(name)
            .unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }

    /// The texts of one element of each child.
    fn all(&self, name: &str) -> Vec<&str> {
        let children = self.root.children.iter();
        children.filter_map(|child| child.text_of(name)).collect()
    }
}

impl Bench {
    fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let clock = Arc::new(TokioClock(Instant::now()));
        let mut settings = Settings::new(Credentials::new("id", "secret"));
        change(&mut settings);
        Self {
            server: OfflineMns::new(settings, clock.clone()).expect("the folder can be used"),
            clock,
        }
    }

    fn new() -> Self {
        Self::with(|_| {})
    }

    fn in_folder(folder: &Path) -> Self {
        Self::with(|settings| settings.folder = Some(folder.to_owned()))
    }

    fn signed(&self, method: &str, target: &str, body: &str) -> Request<Bytes> {
        let mut request = Request::builder()
            .method(method)
            .uri(target)
            .header("host", "mns.test")
            .body(Bytes::copy_from_slice(body.as_bytes()))
            .expect("a request");
        let credentials = Credentials::new("id", "secret");
        let now = self.clock.now();
        let headers = request.headers_mut();
        sign::mns::sign(method, target, headers, body.as_bytes(), &credentials, now)
            .expect("plain text");
        request
    }

    async fn answer(&self, request: Request<Bytes>) -> Answer {
        let response = self.server.answer(request).await;
        let body = response.body();
        Answer {
            status: response.status().as_u16(),
            root: match body.is_empty() {
                true => Element::default(),
                false => Element::parse(body).expect("well-formed"),
            },
        }
    }

    async fn call(&self, method: &str, target: &str, body: &str) -> Answer {
        self.answer(self.signed(method, target, body)).await
    }

    /// Makes the queue `q` with these attributes.
    async fn queue(&self, attributes: &str) {
        let body = format!("<Queue>{attributes}</Queue>");
        let made = self.call("PUT", "/queues/q", &body).await;
        assert_eq!(made.status, 201, "{made:?}");
    }

    /// Sends to the queue `q` what stands in `<Message>`.
    async fn send(&self, inside: &str) -> Answer {
        let body = format!("<Message>{inside}</Message>");
        self.call("POST", "/queues/q/messages", &body).await
    }

    async fn send_bodies(&self, bodies: &[&str]) {
        for body in bodies {
            let sent = self
                .send(&format!("<MessageBody>{body}</MessageBody>"))
                .await;
            assert_eq!(sent.status, 201, "{sent:?}");
        }
    }

    /// Receives from the queue `q`.
    async fn receive(&self, query: &str) -> Answer {
        self.call("GET", &format!("/queues/q/messages?{query}"), "")
            .await
    }

    async fn delete(&self, handle: &str) -> Answer {
        let target = format!("/queues/q/messages?ReceiptHandle={handle}");
        self.call("DELETE", &target, "").await
    }

    async fn change(&self, handle: &str, seconds: u32) -> Answer {
        let query = format!("ReceiptHandle={handle}&VisibilityTimeout={seconds}");
        self.call("PUT", &format!("/queues/q/messages?{query}"), "")
            .await
    }

    /// Active, inactive and delayed messages of the queue `q`.
    async fn counts(&self) -> [u32; 3] {
        let queue = self.call("GET", "/queues/q", "").await;
        ["ActiveMessages", "InactiveMessages", "DelayMessages"]
            .map(|name| queue.text(name).parse().expect("a number"))
    }
}

async fn after(seconds: f64) {
    tokio::time::advance(Duration::from_secs_f64(seconds)).await;
}
