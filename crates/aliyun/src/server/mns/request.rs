//! What a request to the offline MNS asks for.

use bytes::Bytes;
use http::{Method, Request};

use super::{
    auth::header,
    refusal::{Refusal, Result},
};
use crate::{
    mns::{
        Code,
        model::{
            BATCH_MAX, QUEUE_NAME_MAX, QueueAttributes, RETENTION_SECONDS_MAX,
            VISIBILITY_SECONDS_MAX, WAIT_SECONDS_MAX,
        },
    },
    xml::Element,
};

/// Elements of a message that are carried and not looked into.
const PROPERTIES: [&str; 2] = ["UserProperties", "SystemProperties"];
/// The most queues of one page of a listing, and how many where none are asked for.
const PAGE_MAX: u32 = 1_000;

/// What is asked of the queue that it names, or of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Create(String, QueueAttributes),
    SetAttributes(String, QueueAttributes),
    Attributes(String),
    DeleteQueue(String),
    List(Listing),
    /// A single message, or a batch of which some may be refused.
    Send(String, Vec<Result<Incoming>>, Batch),
    Receive(String, Take),
    Peek(String, Take),
    Delete(String, String),
    DeleteBatch(String, Vec<String>),
    ChangeVisibility(String, String, u32),
}

/// Whether a reply is about one message, or about several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Batch {
    Single,
    Several,
}

/// Which queues to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listing {
    pub(super) prefix: String,
    pub(super) marker: String,
    pub(super) number: usize,
    pub(super) with_attributes: bool,
}

/// A message to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Incoming {
    pub(super) body: String,
    pub(super) delay_seconds: Option<u32>,
    pub(super) priority: Option<u32>,
    /// What else goes with it, and comes out as it went in.
    pub(super) properties: Vec<Element>,
    /// How often it is to be kept: once, but for troubles that were asked for.
    pub(super) copies: u32,
}

/// How many messages to hand out, and how long to wait for the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Take {
    pub(super) number: usize,
    pub(super) batch: Batch,
    /// In seconds; the queue's own when `None`.
    pub(super) wait: Option<u32>,
}

impl Ask {
    /// Reads a request whose target is `target`.
    pub(super) fn read(request: &Request<Bytes>, target: &str) -> Result<Self> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let query = Query::read(query);
        let wrong_url =
            || Refusal::new(Code::InvalidRequestURL, "Http request URL format invalid.");
        let rest = path.strip_prefix("/queues");
        let rest = rest.filter(|rest| rest.is_empty() || rest.starts_with('/'));
        let rest = rest.ok_or_else(wrong_url)?;
        let parts: Vec<&str> = rest.split('/').skip(1).collect();
        match *parts.as_slice() {
            [] | [""] if request.method() == Method::GET && rest.len() < 2 => {
                Ok(Self::List(Listing::read(request)?))
            }
            [name] => Self::of_queue(request, checked(name)?).ok_or_else(wrong_url)?,
            [name, "messages"] => {
                Self::of_messages(request, checked(name)?, &query).ok_or_else(wrong_url)?
            }
            _ => Err(wrong_url()),
        }
    }

    /// On a queue itself; `None` for a method that there is not.
    fn of_queue(request: &Request<Bytes>, name: String) -> Option<Result<Self>> {
        let over = |query: &str| Query::read(query).is("metaoverride");
        match *request.method() {
            Method::PUT => Some(attributes(request.body()).map(|attributes| {
                match request.uri().query().is_some_and(over) {
                    true => Self::SetAttributes(name, attributes),
                    false => Self::Create(name, attributes),
                }
            })),
            Method::GET => Some(Ok(Self::Attributes(name))),
            Method::DELETE => Some(Ok(Self::DeleteQueue(name))),
            _ => None,
        }
    }

    /// On the messages of a queue; `None` for a method that there is not.
    fn of_messages(request: &Request<Bytes>, name: String, query: &Query) -> Option<Result<Self>> {
        let handle = || {
            let handle = query.get("receipthandle").map(str::to_owned);
            handle.ok_or_else(|| {
                let message = "ReceiptHandle is required.";
                Refusal::new(Code::MissingReceiptHandle, message)
            })
        };
        match *request.method() {
            Method::POST => Some(Self::send(name, request.body())),
            Method::GET => Some(query.take().map(|take| match query.is("peekonly") {
                true => Self::Peek(name, take),
                false => Self::Receive(name, take),
            })),
            Method::DELETE
                if query.get("receipthandle").is_none() && !request.body().is_empty() =>
            {
                Some(handles(request.body()).map(|handles| Self::DeleteBatch(name, handles)))
            }
            Method::DELETE => Some(handle().map(|handle| Self::Delete(name, handle))),
            Method::PUT => Some(handle().and_then(|handle| {
                let seconds = query.visibility()?;
                Ok(Self::ChangeVisibility(name, handle, seconds))
            })),
            _ => None,
        }
    }

    fn send(name: String, body: &[u8]) -> Result<Self> {
        let root = Element::parse(body).map_err(|_| Refusal::malformed())?;
        match root.name.as_str() {
            "Message" => Ok(Self::Send(name, vec![Incoming::read(&root)], Batch::Single)),
            "Messages" => {
                if root.children.iter().any(|child| child.name != "Message") {
                    return Err(Refusal::malformed());
                }
                let messages: Vec<_> = root.children.iter().map(Incoming::read).collect();
                check_batch("message count", messages.len())?;
                Ok(Self::Send(name, messages, Batch::Several))
            }
            _ => Err(Refusal::malformed()),
        }
    }
}

impl Listing {
    fn read(request: &Request<Bytes>) -> Result<Self> {
        let text = |name| header(request.headers(), name);
        let number = match text("x-mns-ret-number") {
            Some(number) => number.parse().ok().filter(|n| (1..=PAGE_MAX).contains(n)),
            None => Some(PAGE_MAX),
        };
        let number = number.ok_or_else(|| {
            Refusal::argument(format!(
                "x-mns-ret-number should be between 1 and {PAGE_MAX}."
            ))
        })?;
        Ok(Self {
            prefix: text("x-mns-prefix").unwrap_or("").to_owned(),
            marker: text("x-mns-marker").unwrap_or("").to_owned(),
            number: number as usize,
            with_attributes: text("x-mns-with-meta")
                .is_some_and(|t| t.eq_ignore_ascii_case("true")),
        })
    }
}

impl Incoming {
    fn read(message: &Element) -> Result<Self> {
        let number = |name: &str, least: u32, most: u32| {
            let Some(text) = message.text_of(name).filter(|text| !text.is_empty()) else {
                return Ok(None);
            };
            let number = text
                .trim()
                .parse()
                .ok()
                .filter(|n| (least..=most).contains(n));
            let limits = format!("The value of {name} should be between {least} and {most}.");
            number.map(Some).ok_or_else(|| Refusal::argument(limits))
        };
        let body = message
            .child("MessageBody")
            // An element in it would be lost without a word.
            .filter(|body| body.children.is_empty())
            .ok_or_else(Refusal::malformed)?;
        let properties = message.children.iter();
        let properties = properties.filter(|child| PROPERTIES.contains(&child.name.as_str()));
        Ok(Self {
            body: body.text.clone(),
            properties: properties.cloned().collect(),
            delay_seconds: number("DelaySeconds", 0, RETENTION_SECONDS_MAX)?,
            priority: number("Priority", 1, 16)?,
            copies: 1,
        })
    }
}

/// The names in lower case, for SDKs spell them differently, and the values of a query.
struct Query(Vec<(String, String)>);

impl Query {
    fn read(query: &str) -> Self {
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (name.to_ascii_lowercase(), unescape(value))
        };
        Self(pairs.map(pair).collect())
    }

    fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Whether a flag is set; SDKs write it in either case.
    fn is(&self, name: &str) -> bool {
        self.get(name)
            .is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// A number within its limits, if given.
    fn number(&self, name: &str, least: u32, most: u32) -> Result<Option<u32>> {
        let Some(text) = self.get(&name.to_ascii_lowercase()) else {
            return Ok(None);
        };
        let number = text.parse().ok().filter(|n| (least..=most).contains(n));
        let limits = format!("The value of {name} should be between {least} and {most}.");
        number.map(Some).ok_or_else(|| Refusal::argument(limits))
    }

    fn take(&self) -> Result<Take> {
        let number = self.number("numOfMessages", 1, BATCH_MAX as u32)?;
        let batch = if number.is_some() {
            Batch::Several
        } else {
            Batch::Single
        };
        Ok(Take {
            number: number.unwrap_or(1) as usize,
            batch,
            wait: self.number("waitseconds", 0, WAIT_SECONDS_MAX)?,
        })
    }

    fn visibility(&self) -> Result<u32> {
        let seconds = self.number("VisibilityTimeout", 0, VISIBILITY_SECONDS_MAX)?;
        seconds.ok_or_else(|| {
            let message = "VisibilityTimeout is required.";
            Refusal::new(Code::MissingVisibilityTimeout, message)
        })
    }
}

/// `text` less its percent signs. Handles travel unescaped: a plus is a plus, not a space.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let escaped = after.first_chunk::<2>().filter(|_| *first == b'%');
        let byte = escaped.and_then(|digits| hex::decode(digits).ok());
        match byte.as_deref() {
            Some([byte]) => {
                bytes.push(*byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The name of a queue, if it may be one.
fn checked(name: &str) -> Result<String> {
    if name.len() > QUEUE_NAME_MAX {
        let message = "The length of the queue name should be between 1 and 120.";
        return Err(Refusal::new(Code::QueueNameLengthError, message));
    }
    let begins = name
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_alphanumeric());
    let goes_on = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if !begins || !goes_on {
        let message = "The queue name you provided is invalid.";
        return Err(Refusal::new(Code::InvalidQueueName, message));
    }
    Ok(name.to_owned())
}

fn check_batch(what: &str, number: usize) -> Result<()> {
    if (1..=BATCH_MAX).contains(&number) {
        return Ok(());
    }
    let limits = format!("The value of {what} should between 1 and {BATCH_MAX}.");
    Err(Refusal::argument(limits))
}

fn attributes(body: &[u8]) -> Result<QueueAttributes> {
    if body.is_empty() {
        return Ok(QueueAttributes::default());
    }
    let root = Element::parse(body).map_err(|_| Refusal::malformed())?;
    if root.name != "Queue" {
        return Err(Refusal::malformed());
    }
    let attributes = QueueAttributes::parse(&root)?;
    attributes.check()?;
    Ok(attributes)
}

fn handles(body: &[u8]) -> Result<Vec<String>> {
    let root = Element::parse(body).map_err(|_| Refusal::malformed())?;
    let named = |child: &&Element| child.name == "ReceiptHandle";
    if root.name != "ReceiptHandles" || root.children.iter().any(|child| !named(&child)) {
        return Err(Refusal::malformed());
    }
    check_batch("receipt handle count", root.children.len())?;
    Ok(root.children.into_iter().map(|child| child.text).collect())
}
