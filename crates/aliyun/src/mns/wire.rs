//! Requests as XML and replies from XML: the client's half.

use super::{
    Code,
    model::{
        Changed, Message, NewMessage, PartError, QueueAttributes, QueueInfo, QueuePage, Sent,
        ServiceError,
    },
};
use crate::xml::Element;

/// The namespace of every element.
pub const NAMESPACE: &str = "http://mns.aliyuncs.com/doc/v1/";

/// A reply is not what the protocol says; names what is missing or wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a strange reply: {0}")]
pub struct Strange(pub String);

/// The result of reading a reply.
pub(super) type Result<T, E = Strange> = std::result::Result<T, E>;

fn missing(name: &str) -> Strange {
    Strange(format!("`{name}` is missing or wrong"))
}

/// The text of an element that must be there.
fn text(element: &Element, name: &str) -> Result<String> {
    let found = element.text_of(name).ok_or_else(|| missing(name))?;
    Ok(found.to_owned())
}

/// The number in an element that must be there.
fn number<T: std::str::FromStr>(element: &Element, name: &str) -> Result<T> {
    let found = element.text_of(name).ok_or_else(|| missing(name))?;
    found.trim().parse().map_err(|_| missing(name))
}

/// The number in an element that need not be there.
fn maybe<T: std::str::FromStr>(element: &Element, name: &str) -> Result<Option<T>> {
    match element.child(name) {
        Some(_) => number(element, name).map(Some),
        None => Ok(None),
    }
}

/// The root of a reply, which must be called `name`.
pub(super) fn root(body: &[u8], name: &str) -> Result<Element> {
    let root = Element::parse(body).map_err(|error| Strange(error.to_string()))?;
    match root.name == name {
        true => Ok(root),
        false => Err(Strange(format!("`{}` instead of `{name}`", root.name))),
    }
}

pub(super) fn attributes_request(attributes: &QueueAttributes) -> String {
    Element::node("Queue", attributes.elements()).document(NAMESPACE)
}

fn message_element(message: &NewMessage) -> Element {
    let mut children = vec![Element::leaf("MessageBody", message.body.clone())];
    if let Some(delay) = message.delay_seconds {
        children.push(Element::leaf("DelaySeconds", delay.to_string()));
    }
    if let Some(priority) = message.priority {
        children.push(Element::leaf("Priority", priority.to_string()));
    }
    Element::node("Message", children)
}

pub(super) fn send_request(message: &NewMessage) -> String {
    message_element(message).document(NAMESPACE)
}

pub(super) fn send_batch_request(messages: &[NewMessage]) -> String {
    let messages = messages.iter().map(message_element).collect();
    Element::node("Messages", messages).document(NAMESPACE)
}

pub(super) fn delete_batch_request(handles: &[String]) -> String {
    let handle = |handle: &String| Element::leaf("ReceiptHandle", handle.clone());
    let handles = handles.iter().map(handle).collect();
    Element::node("ReceiptHandles", handles).document(NAMESPACE)
}

pub(super) fn queue_info(body: &[u8]) -> Result<QueueInfo> {
    let queue = root(body, "Queue")?;
    let attributes =
        QueueAttributes::parse(&queue).map_err(|error| Strange(error.message.clone()))?;
    Ok(QueueInfo {
        name: text(&queue, "QueueName")?,
        create_time: number(&queue, "CreateTime")?,
        last_modify_time: number(&queue, "LastModifyTime")?,
        attributes,
        // These are being withdrawn: a queue without them is a queue all the same.
        active: maybe(&queue, "ActiveMessages")?.unwrap_or(0),
        inactive: maybe(&queue, "InactiveMessages")?.unwrap_or(0),
        delayed: maybe(&queue, "DelayMessages")?.unwrap_or(0),
    })
}

pub(super) fn queue_page(body: &[u8]) -> Result<QueuePage> {
    let queues = root(body, "Queues")?;
    let listed = queues.children.iter().filter(|child| child.name == "Queue");
    let names = listed.map(|queue| {
        let url = text(queue, "QueueURL")?;
        let name = url.rsplit('/').next().unwrap_or(&url);
        Ok(name.to_owned())
    });
    let marker = queues.text_of("NextMarker").filter(|m| !m.is_empty());
    Ok(QueuePage {
        names: names.collect::<Result<_>>()?,
        next_marker: marker.map(str::to_owned),
    })
}

/// What became of one message that was sent.
pub(super) fn sent(message: &Element) -> Result<Result<Sent, PartError>> {
    if message.child("ErrorCode").is_some() {
        return Ok(Err(part_error(message)?));
    }
    Ok(Ok(Sent {
        message_id: text(message, "MessageId")?,
        body_md5: text(message, "MessageBodyMD5")?,
        receipt_handle: message.text_of("ReceiptHandle").map(str::to_owned),
    }))
}

/// What became of each of `many` messages that were sent.
pub(super) fn sent_batch(body: &[u8], many: usize) -> Result<Vec<Result<Sent, PartError>>> {
    let messages = root(body, "Messages")?;
    let parts: Vec<_> = messages.children.iter().map(sent).collect::<Result<_>>()?;
    if parts.len() != many {
        return Err(Strange(format!("{} results of {many}", parts.len())));
    }
    Ok(parts)
}

/// The handles that failed, of a batch that was deleted in part.
pub(super) fn delete_errors(body: &[u8]) -> Result<Vec<(String, PartError)>> {
    let errors = root(body, "Errors")?;
    let failed = |error: &Element| Ok((text(error, "ReceiptHandle")?, part_error(error)?));
    errors.children.iter().map(failed).collect()
}

fn part_error(element: &Element) -> Result<PartError> {
    Ok(PartError {
        code: Code::of(&text(element, "ErrorCode")?),
        message: element.text_of("ErrorMessage").unwrap_or("").to_owned(),
    })
}

pub(super) fn message(element: &Element) -> Result<Message> {
    let enqueue_time = number(element, "EnqueueTime")?;
    Ok(Message {
        message_id: text(element, "MessageId")?,
        receipt_handle: element.text_of("ReceiptHandle").map(str::to_owned),
        body: text(element, "MessageBody")?,
        enqueue_time,
        next_visible_time: maybe(element, "NextVisibleTime")?,
        first_dequeue_time: maybe(element, "FirstDequeueTime")?.unwrap_or(enqueue_time),
        dequeue_count: number(element, "DequeueCount")?,
        priority: number(element, "Priority")?,
    })
}

pub(super) fn messages(body: &[u8]) -> Result<Vec<Message>> {
    let messages = root(body, "Messages")?;
    messages.children.iter().map(message).collect()
}

pub(super) fn changed(body: &[u8]) -> Result<Changed> {
    let changed = root(body, "ChangeVisibility")?;
    Ok(Changed {
        receipt_handle: text(&changed, "ReceiptHandle")?,
        next_visible_time: number(&changed, "NextVisibleTime")?,
    })
}

/// The error that a body of a refusal tells; where it tells none, one of its status alone.
pub(super) fn service_error(status: u16, request_id: &str, body: &[u8]) -> ServiceError {
    let error = root(body, "Error").unwrap_or_default();
    let text = |name: &str| error.text_of(name).unwrap_or("").to_owned();
    let code = match text("Code") {
        code if code.is_empty() => Code::Other(format!("HTTP {status}")),
        code => Code::of(&code),
    };
    let told = text("RequestId");
    ServiceError {
        status,
        code,
        message: text("Message"),
        request_id: if told.is_empty() {
            request_id.to_owned()
        } else {
            told
        },
    }
}
