//! All queues of the offline MNS, and what each request does to them.
//!
//! Every change is written to the journal, if there is one, before it is answered.

use std::{
    collections::BTreeMap,
    io,
    ops::Bound::{Included, Unbounded},
    path::Path,
};

use rules::Timestamp;

use super::{
    journal::{Journal, Record},
    queue::Queue,
    refusal::{Refusal, Result},
    reply::{self, Reply, Shown},
    request::{Batch, Incoming, Listing, Take},
};
use crate::{
    mns::{
        Code,
        model::{BATCH_BYTES_MAX, QueueAttributes},
    },
    xml::Element,
};

/// Queues by their names.
pub(super) type Queues = BTreeMap<String, Queue>;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Store {
    queues: Queues,
    /// The queues made so far.
    made: u64,
    journal: Option<Journal>,
}

/// A moment, in the units of queues and of messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    s: u64,
    pub(super) ms: u64,
}

impl From<Timestamp> for Now {
    fn from(at: Timestamp) -> Self {
        let ms = u64::try_from(at.micros() / 1_000).unwrap_or(0);
        Self { s: ms / 1_000, ms }
    }
}

impl Store {
    /// The queues that are kept in `folder`.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        let (journal, queues) = Journal::open(folder)?;
        Ok(Self {
            made: queues.values().map(|queue| queue.number).max().unwrap_or(0),
            queues,
            journal: Some(journal),
        })
    }

    /// A queue as it is at `now`.
    fn queue(&mut self, name: &str, now: Now) -> Result<&mut Queue> {
        let queue = self.queues.get_mut(name).ok_or_else(Refusal::no_queue)?;
        queue.advance(now.ms);
        Ok(queue)
    }

    fn write(&mut self, records: &[Record]) -> Result<()> {
        let Some(journal) = &mut self.journal else {
            return Ok(());
        };
        journal.write(records, &self.queues).map_err(|error| {
            tracing::error!(%error, "the offline MNS cannot keep its data");
            Refusal::internal("The data cannot be kept.")
        })
    }

    /// Writes how messages of a queue now are.
    fn write_messages(&mut self, name: &str, numbers: &[u64]) -> Result<()> {
        if self.journal.is_none() {
            return Ok(());
        }
        let queue = self.queues.get(name).ok_or_else(Refusal::no_queue)?;
        let record = |number: &u64| Record::of_message(name, queue, *number);
        let records: Vec<_> = numbers.iter().map(record).collect();
        self.write(&records)
    }

    fn write_queue(&mut self, name: &str) -> Result<()> {
        let queue = self.queues.get(name).ok_or_else(Refusal::no_queue)?;
        let record = Record::of_queue(name, queue);
        self.write(&[record])
    }

    pub(super) fn create(
        &mut self,
        name: &str,
        attributes: QueueAttributes,
        url: String,
        now: Now,
    ) -> Result<Reply> {
        let attributes = attributes.or_defaults();
        let status = match self.queues.get(name) {
            Some(queue) if queue.attributes == attributes => 204,
            Some(_) => {
                let message = "The queue you want to create is already exist.";
                return Err(Refusal::new(Code::QueueAlreadyExist, message));
            }
            None => {
                self.made += 1;
                let queue = Queue::new(self.made, attributes, now.s);
                self.queues.insert(name.to_owned(), queue);
                self.write_queue(name)?;
                201
            }
        };
        Ok(Reply {
            location: Some(url),
            ..Reply::empty(status)
        })
    }

    pub(super) fn set_attributes(
        &mut self,
        name: &str,
        attributes: QueueAttributes,
        now: Now,
    ) -> Result<Reply> {
        let queue = self.queue(name, now)?;
        queue.attributes = attributes.or(&queue.attributes);
        queue.last_modify_time = now.s;
        self.write_queue(name)?;
        Ok(Reply::empty(204))
    }

    pub(super) fn attributes(&mut self, name: &str, now: Now) -> Result<Reply> {
        let elements = reply::queue_elements(name, self.queue(name, now)?);
        Ok(Reply::of(200, Element::node("Queue", elements)))
    }

    /// Removing what is not there succeeds, as the service has no error for it.
    pub(super) fn delete_queue(&mut self, name: &str) -> Result<Reply> {
        if self.queues.remove(name).is_some() {
            let name = name.to_owned();
            self.write(&[Record::Dropped { name }])?;
        }
        Ok(Reply::empty(204))
    }

    pub(super) fn list(&mut self, listing: &Listing, host: &str, now: Now) -> Reply {
        let from = match listing.marker.as_str().max(&listing.prefix) {
            "" => Unbounded,
            from => Included(from),
        };
        let range = self.queues.range_mut::<str, _>((from, Unbounded::<&str>));
        let mut range = range.take_while(|(name, _)| name.starts_with(&listing.prefix));
        let mut children = Vec::new();
        for (name, queue) in range.by_ref().take(listing.number) {
            let mut elements = vec![Element::leaf("QueueURL", url(host, name))];
            if listing.with_attributes {
                queue.advance(now.ms);
                elements.extend(reply::queue_elements(name, queue));
            }
            children.push(Element::node("Queue", elements));
        }
        if let Some((next, _)) = range.next() {
            children.push(Element::leaf("NextMarker", next.clone()));
        }
        Reply::of(200, Element::node("Queues", children))
    }

    pub(super) fn send(
        &mut self,
        name: &str,
        messages: Vec<Result<Incoming>>,
        batch: Batch,
        now: Now,
    ) -> Result<Reply> {
        let queue = self.queue(name, now)?;
        let longest = queue.attributes.maximum_message_size.unwrap_or(0) as usize;
        let too_long = "The length of message should not be larger than MaximumMessageSize.";
        let fitting = |message: Incoming| match message.body.len() <= longest {
            true => Ok(message),
            false => Err(Refusal::argument(too_long)),
        };
        let messages: Vec<_> = messages.into_iter().map(|m| m.and_then(fitting)).collect();
        let lengths = messages.iter().flatten().map(|message| message.body.len());
        if lengths.sum::<usize>() > BATCH_BYTES_MAX {
            let message = "The length of all messages should not be larger than 65536.";
            return Err(Refusal::argument(message));
        }
        let mut numbers = Vec::new();
        let mut parts = Vec::new();
        let mut status = 201;
        for message in messages {
            match message {
                Ok(message) => {
                    let mut sent = queue.make(&message, now.ms);
                    parts.push(reply::sent(&sent.1, batch));
                    for copy in 0..message.copies {
                        if copy > 0 {
                            sent = queue.make(&message, now.ms);
                        }
                        numbers.push(sent.0);
                        queue.put(sent.0, sent.1.clone());
                    }
                }
                Err(refusal) if batch == Batch::Single => return Err(refusal),
                Err(refusal) => {
                    // The status of a batch that failed in part, whatever the reason.
                    status = Code::InternalError.status();
                    parts.push(reply::failed("Message", &refusal, None));
                }
            }
        }
        self.write_messages(name, &numbers)?;
        Ok(Reply::of(status, one_or_all(parts, batch)))
    }

    /// Hands out messages; `None` when none is visible, and then when the next will be.
    pub(super) fn receive(
        &mut self,
        name: &str,
        take: Take,
        now: Now,
    ) -> Result<Result<Reply, Option<u64>>> {
        let queue = self.queue(name, now)?;
        let numbers = queue.receive(take.number, now.ms);
        if numbers.is_empty() {
            return Ok(Err(queue.next_visible_ms()));
        }
        let parts = shown(queue, &numbers, Shown::Received);
        self.write_messages(name, &numbers)?;
        Ok(Ok(Reply::of(200, one_or_all(parts, take.batch))))
    }

    /// How long a receive that does not say waits, in seconds.
    pub(super) fn polling_wait(&mut self, name: &str, now: Now) -> Result<u32> {
        let attributes = &self.queue(name, now)?.attributes;
        Ok(attributes.polling_wait_seconds.unwrap_or(0))
    }

    pub(super) fn peek(&mut self, name: &str, take: Take, now: Now) -> Result<Reply> {
        let queue = self.queue(name, now)?;
        let numbers = queue.peek(take.number);
        if numbers.is_empty() {
            return Err(Refusal::no_message());
        }
        let parts = shown(queue, &numbers, Shown::Peeked);
        Ok(Reply::of(200, one_or_all(parts, take.batch)))
    }

    pub(super) fn delete(&mut self, name: &str, handle: &str, now: Now) -> Result<Reply> {
        let number = self.queue(name, now)?.delete(handle)?;
        self.write_messages(name, &[number])?;
        Ok(Reply::empty(204))
    }

    pub(super) fn delete_batch(
        &mut self,
        name: &str,
        handles: &[String],
        now: Now,
    ) -> Result<Reply> {
        let queue = self.queue(name, now)?;
        let mut numbers = Vec::new();
        let mut errors = Vec::new();
        for handle in handles {
            match queue.delete(handle) {
                Ok(number) => numbers.push(number),
                Err(refusal) => errors.push(reply::failed("Error", &refusal, Some(handle))),
            }
        }
        self.write_messages(name, &numbers)?;
        Ok(match errors.is_empty() {
            true => Reply::empty(204),
            false => Reply::of(404, Element::node("Errors", errors)),
        })
    }

    pub(super) fn change(
        &mut self,
        name: &str,
        handle: &str,
        visibility_s: u32,
        now: Now,
    ) -> Result<Reply> {
        let changed = self
            .queue(name, now)?
            .change(handle, visibility_s, now.ms)?;
        let (number, handle, until_ms) = changed;
        self.write_messages(name, &[number])?;
        let children = vec![
            Element::leaf("ReceiptHandle", handle),
            Element::leaf("NextVisibleTime", until_ms.to_string()),
        ];
        Ok(Reply::of(200, Element::node("ChangeVisibility", children)))
    }
}

/// Where a queue is.
pub(super) fn url(host: &str, queue: &str) -> String {
    format!("http://{host}/queues/{queue}")
}

fn shown(queue: &Queue, numbers: &[u64], how: Shown) -> Vec<Element> {
    let messages = numbers.iter().filter_map(|number| queue.message(*number));
    messages
        .map(|message| reply::message(message, how))
        .collect()
}

/// A single message by itself, several inside one element.
fn one_or_all(mut parts: Vec<Element>, batch: Batch) -> Element {
    match batch {
        Batch::Single => parts.swap_remove(0),
        Batch::Several => Element::node("Messages", parts),
    }
}
