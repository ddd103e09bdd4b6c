//! The replies of the offline MNS.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use rules::Timestamp;

use super::{
    queue::{Message, Queue},
    refusal::Refusal,
    request::Batch,
};
use crate::{
    mns::NAMESPACE,
    sign::{http_date, mns::VERSION},
    xml::Element,
};

/// What is answered, before the headers that all answers have.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) location: Option<String>,
    pub(super) body: Option<Element>,
}

/// How a message is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// To its receiver, with its handle.
    Received,
    /// To one who only looks.
    Peeked,
}

impl Reply {
    /// A status alone.
    pub(super) fn empty(status: u16) -> Self {
        Self {
            status,
            location: None,
            body: None,
        }
    }

    pub(super) fn of(status: u16, body: Element) -> Self {
        Self {
            status,
            location: None,
            body: Some(body),
        }
    }

    /// The refusal of a whole request.
    pub(super) fn refusal(refusal: &Refusal, request_id: &str, host: &str) -> Self {
        let body = vec![
            Element::leaf("Code", refusal.code.name()),
            Element::leaf("Message", refusal.message.clone()),
            Element::leaf("RequestId", request_id),
            Element::leaf("HostId", format!("http://{host}")),
        ];
        Self::of(refusal.code.status(), Element::node("Error", body))
    }

    pub(super) fn response(self, request_id: &str, now: Timestamp) -> Response<Bytes> {
        let body = self.body.map(|root| root.document(NAMESPACE));
        let mut response = Response::new(Bytes::from(body.unwrap_or_default()));
        *response.status_mut() =
            StatusCode::from_u16(self.status).expect("every status here is one of HTTP");
        let headers = response.headers_mut();
        let mut set = |name, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        };
        set("x-mns-request-id", request_id);
        set("x-mns-version", VERSION);
        set("date", &http_date(now));
        set("content-type", "text/xml;charset=utf-8");
        if let Some(location) = &self.location {
            set("location", location);
        }
        response
    }
}

/// The attributes and counts of a queue.
pub(super) fn queue_elements(name: &str, queue: &Queue) -> Vec<Element> {
    let counts = queue.counts();
    let mut elements = vec![
        Element::leaf("QueueName", name),
        Element::leaf("CreateTime", queue.create_time.to_string()),
        Element::leaf("LastModifyTime", queue.last_modify_time.to_string()),
    ];
    elements.extend(queue.attributes.elements());
    elements.extend([
        Element::leaf("ActiveMessages", counts.active.to_string()),
        Element::leaf("InactiveMessages", counts.inactive.to_string()),
        Element::leaf("DelayMessages", counts.delayed.to_string()),
    ]);
    elements
}

/// A message that was sent. Alone and delayed, it comes with a handle; SDKs refuse one in a
/// batch.
pub(super) fn sent(message: &Message, batch: Batch) -> Element {
    let mut children = vec![
        Element::leaf("MessageId", message.id.clone()),
        Element::leaf("MessageBodyMD5", message.md5.clone()),
    ];
    if let Some(handle) = message.handle.as_ref().filter(|_| batch == Batch::Single) {
        children.push(Element::leaf("ReceiptHandle", handle.clone()));
    }
    Element::node("Message", children)
}

/// A part of a batch that failed; of a batch of handles, with its handle.
pub(super) fn failed(name: &str, refusal: &Refusal, handle: Option<&str>) -> Element {
    let mut children = vec![
        Element::leaf("ErrorCode", refusal.code.name()),
        Element::leaf("ErrorMessage", refusal.message.clone()),
    ];
    if let Some(handle) = handle {
        children.push(Element::leaf("ReceiptHandle", handle));
    }
    Element::node(name, children)
}

/// A message that is received or peeked at.
pub(super) fn message(message: &Message, shown: Shown) -> Element {
    // As the service has it: a message never consumed was first so when it was sent.
    let first_ms = match message.dequeue_count {
        0 => message.enqueue_ms,
        _ => message.first_dequeue_ms,
    };
    let received = shown == Shown::Received;
    let handle = message.handle.as_ref().filter(|_| received);
    let until_ms = message.until_ms.filter(|_| received);
    let leaves = [
        Some(("MessageId", message.id.clone())),
        handle.map(|handle| ("ReceiptHandle", handle.clone())),
        Some(("MessageBodyMD5", message.md5.clone())),
        Some(("MessageBody", message.body.clone())),
        Some(("EnqueueTime", message.enqueue_ms.to_string())),
        until_ms.map(|until_ms| ("NextVisibleTime", until_ms.to_string())),
        Some(("FirstDequeueTime", first_ms.to_string())),
        Some(("DequeueCount", message.dequeue_count.to_string())),
        Some(("Priority", message.priority.to_string())),
    ];
    let leaves = leaves.into_iter().flatten();
    let leaves = leaves.map(|(name, text)| Element::leaf(name, text));
    let properties = message.properties.iter().cloned();
    Element::node("Message", leaves.chain(properties).collect())
}
