//! The messages of one queue of the offline MNS: which are visible, held, delayed or over, and
//! the handles that count.
//!
//! Time comes as a parameter, in milliseconds since 1970; nothing waits here.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde::{Deserialize, Serialize};

use super::{
    refusal::{Refusal, Result},
    request::Incoming,
};
use crate::{
    mns::{Code, model::QueueAttributes},
    xml::Element,
};

/// The priority of a message that names none.
const PRIORITY: u32 = 8;

/// A queue.
#[derive(Debug)]
pub(super) struct Queue {
    /// Tells queues of the same name apart: handles of one made anew must not fit the former.
    pub(super) number: u64,
    /// All of them, none left to a default.
    pub(super) attributes: QueueAttributes,
    /// In seconds since 1970.
    pub(super) create_time: u64,
    /// In seconds since 1970.
    pub(super) last_modify_time: u64,
    /// By their number, and so by their age.
    messages: BTreeMap<u64, Message>,
    /// Those that can be received, the most urgent and oldest first.
    visible: BTreeSet<(u32, u64)>,
    /// Those that are held or delayed, by the time at which that ends.
    waiting: BTreeSet<(u64, u64)>,
    /// The messages and handles so far; a number is never given twice.
    pub(super) given: u64,
}

/// A message as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Message {
    pub(super) id: String,
    pub(super) body: String,
    pub(super) md5: String,
    /// What else went with it.
    #[serde(default)]
    pub(super) properties: Vec<Element>,
    pub(super) priority: u32,
    pub(super) enqueue_ms: u64,
    /// 0: never yet.
    pub(super) first_dequeue_ms: u64,
    pub(super) dequeue_count: u32,
    /// Until when it is held or delayed, if it is.
    pub(super) until_ms: Option<u64>,
    /// The handle that counts until then.
    pub(super) handle: Option<String>,
}

/// How many messages a queue holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) active: usize,
    pub(super) inactive: usize,
    pub(super) delayed: usize,
}

impl Queue {
    pub(super) fn new(number: u64, attributes: QueueAttributes, now_s: u64) -> Self {
        Self {
            number,
            attributes: attributes.or_defaults(),
            create_time: now_s,
            last_modify_time: now_s,
            messages: BTreeMap::new(),
            visible: BTreeSet::new(),
            waiting: BTreeSet::new(),
            given: 0,
        }
    }

    /// Removes what is over and shows what no longer waits.
    pub(super) fn advance(&mut self, now_ms: u64) {
        let retention_ms = seconds(self.attributes.message_retention_period) * 1_000;
        while let Some((&number, oldest)) = self.messages.first_key_value()
            && oldest.enqueue_ms + retention_ms <= now_ms
        {
            self.remove(number);
        }
        while let Some(&(until, number)) = self.waiting.first()
            && until <= now_ms
        {
            self.waiting.pop_first();
            let message = self.messages.get_mut(&number);
            let message = message.expect("what waits is a message of the queue");
            message.until_ms = None;
            message.handle = None;
            self.visible.insert((message.priority, number));
        }
    }

    /// When the next message becomes visible by itself.
    pub(super) fn next_visible_ms(&self) -> Option<u64> {
        self.waiting.first().map(|(until, _)| *until)
    }

    /// A message and its number, not yet in the queue.
    pub(super) fn make(&mut self, incoming: &Incoming, now_ms: u64) -> (u64, Message) {
        let number = self.next();
        let delay_s = incoming.delay_seconds.or(self.attributes.delay_seconds);
        let delay_ms = seconds(delay_s) * 1_000;
        let priority = incoming.priority.unwrap_or(PRIORITY);
        let delayed = (delay_ms > 0).then_some(now_ms + delay_ms);
        let message = Message {
            id: uuid::Uuid::new_v4().simple().to_string().to_uppercase(),
            md5: crate::mns::model::body_md5(&incoming.body),
            body: incoming.body.clone(),
            properties: incoming.properties.clone(),
            priority,
            enqueue_ms: now_ms,
            first_dequeue_ms: 0,
            dequeue_count: 0,
            until_ms: delayed,
            handle: delayed.map(|until_ms| self.handle(number, until_ms, priority)),
        };
        (number, message)
    }

    /// Puts a message where its state says.
    pub(super) fn put(&mut self, number: u64, message: Message) {
        self.remove(number);
        let handle = message.handle.as_deref().and_then(inside);
        let given = handle.map_or(0, |inside| inside.given);
        self.given = self.given.max(number).max(given);
        match message.until_ms {
            Some(until) => self.waiting.insert((until, number)),
            None => self.visible.insert((message.priority, number)),
        };
        self.messages.insert(number, message);
    }

    /// The numbers of up to `many` visible messages, in the order in which they are received.
    pub(super) fn peek(&self, many: usize) -> Vec<u64> {
        let first = self.visible.iter().take(many);
        first.map(|(_, number)| *number).collect()
    }

    /// Takes up to `many` visible messages; their numbers.
    pub(super) fn receive(&mut self, many: usize, now_ms: u64) -> Vec<u64> {
        let taken = self.peek(many);
        let until_ms = now_ms + seconds(self.attributes.visibility_timeout) * 1_000;
        for number in &taken {
            let mut message = self.remove(*number).expect("a visible message is there");
            if message.dequeue_count == 0 {
                message.first_dequeue_ms = now_ms;
            }
            message.dequeue_count = message.dequeue_count.saturating_add(1);
            message.until_ms = Some(until_ms);
            message.handle = Some(self.handle(*number, until_ms, message.priority));
            self.put(*number, message);
        }
        taken
    }

    /// Deletes the message whose handle counts now; its number.
    pub(super) fn delete(&mut self, handle: &str) -> Result<u64> {
        let number = self.find(handle)?;
        self.remove(number);
        Ok(number)
    }

    /// Gives the message whose handle counts now another end of its wait; its number, the new
    /// handle and when it becomes visible.
    pub(super) fn change(
        &mut self,
        handle: &str,
        visibility_s: u32,
        now_ms: u64,
    ) -> Result<(u64, String, u64)> {
        let number = self.find(handle)?;
        let mut message = self.remove(number).expect("it was found");
        let until_ms = now_ms + u64::from(visibility_s) * 1_000;
        let handle = self.handle(number, until_ms, message.priority);
        let waits = visibility_s > 0;
        message.until_ms = waits.then_some(until_ms);
        message.handle = waits.then(|| handle.clone());
        self.put(number, message);
        Ok((number, handle, until_ms))
    }

    pub(super) fn message(&self, number: u64) -> Option<&Message> {
        self.messages.get(&number)
    }

    pub(super) fn messages(&self) -> impl Iterator<Item = (u64, &Message)> {
        self.messages
            .iter()
            .map(|(number, message)| (*number, message))
    }

    /// Removes a message from wherever it is.
    pub(super) fn remove(&mut self, number: u64) -> Option<Message> {
        let message = self.messages.remove(&number)?;
        match message.until_ms {
            Some(until) => self.waiting.remove(&(until, number)),
            None => self.visible.remove(&(message.priority, number)),
        };
        Some(message)
    }

    pub(super) fn counts(&self) -> Counts {
        let waiting = self
            .waiting
            .iter()
            .map(|(_, number)| &self.messages[number]);
        let delayed = waiting.filter(|message| message.dequeue_count == 0).count();
        Counts {
            active: self.visible.len(),
            inactive: self.waiting.len() - delayed,
            delayed,
        }
    }

    fn next(&mut self) -> u64 {
        self.given += 1;
        self.given
    }

    /// A handle that was never given before. It looks like those of the service, and is safe in
    /// a URL: base64 of digits and hyphens has neither a plus nor a slash.
    fn handle(&mut self, number: u64, until_ms: u64, priority: u32) -> String {
        let (queue, given) = (self.number, self.next());
        let until_s = until_ms / 1_000;
        let inside = format!("{queue}-{until_s}-{number}-{given}-{priority}");
        format!("1-{}", BASE64.encode(inside))
    }

    /// The message whose handle counts now.
    fn find(&self, handle: &str) -> Result<u64> {
        if !is_well_formed(handle) {
            let message = "The receipt handle you provide is not valid.";
            return Err(Refusal::new(Code::ReceiptHandleError, message));
        }
        let number = inside(handle).map(|inside| inside.message);
        let number = number.ok_or_else(Refusal::no_message)?;
        let message = self.messages.get(&number);
        let message = message.ok_or_else(Refusal::no_message)?;
        match message.handle.as_deref() == Some(handle) {
            true => Ok(number),
            false => Err(Refusal::no_message()),
        }
    }
}

/// What a handle holds that is asked for again.
struct Inside {
    /// The number of its message.
    message: u64,
    /// The number that was given to the handle itself.
    given: u64,
}

/// What a handle of ours holds.
fn inside(handle: &str) -> Option<Inside> {
    let &[_queue, _until_s, message, given, _priority] = numbers(&decoded(handle)?)?.as_slice()
    else {
        return None;
    };
    Some(Inside { message, given })
}

/// Whether a handle has the form of ours, or of one that was given elsewhere and so is of no
/// message here: the service's are four numbers, those of the recordings 20 hexadecimal digits.
fn is_well_formed(handle: &str) -> bool {
    decoded(handle).is_some_and(|text| {
        let recorded = text.len() == 20 && text.bytes().all(|b| b.is_ascii_hexdigit());
        recorded || numbers(&text).is_some_and(|numbers| matches!(numbers.len(), 4 | 5))
    })
}

fn decoded(handle: &str) -> Option<String> {
    let text = BASE64.decode(handle.strip_prefix("1-")?).ok()?;
    String::from_utf8(text).ok()
}

/// The numbers that hyphens stand between.
fn numbers(text: &str) -> Option<Vec<u64>> {
    let numbers = text.split('-').map(str::parse);
    numbers.collect::<Result<_, _>>().ok()
}

/// A number of seconds that is always set.
fn seconds(attribute: Option<u32>) -> u64 {
    u64::from(attribute.expect("a queue's attributes are all set"))
}
