//! The offline MNS: the protocol and the semantics of the service's queues, in this process.
//!
//! A development tool. It knows no accounts, no regions and no permissions beside its keys.
//!
//! # Layout
//! - [`OfflineMns`]: the server; [`Settings`]: what it is told.
//! - `auth`: signatures and dates. `request`, `reply`: the wire. `refusal`: the errors.
//! - `store`: the queues and what requests do to them; `queue`: the messages of one.
//! - `journal`: what is kept on disk. `faults`: troubles that tests ask for.

mod auth;
mod faults;
mod journal;
mod queue;
mod refusal;
mod reply;
mod request;
mod store;

use std::{
    collections::HashMap,
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use rules::Clock;
use tokio::sync::Notify;

pub use self::faults::Faults;
use self::{
    faults::{Trouble, Troubles},
    refusal::{Refusal, Result},
    reply::Reply,
    request::{Ask, Take},
    store::{Now, Store},
};
use super::Offline;
use crate::sign::{Credentials, SKEW_MAX};

/// What an offline MNS is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who may call.
    pub keys: Vec<Credentials>,
    /// Where to keep the data; nowhere when `None`, so that it ends with the process.
    pub folder: Option<PathBuf>,
    /// How far a request's date may be from the clock.
    pub skew_max: Duration,
    /// How many calls wait for messages at most; beyond it an empty queue answers at once.
    pub long_polls_max: usize,
    /// How many calls a queue takes in a second; each message of a batch that is sent counts.
    pub calls_per_second_max: u32,
}

impl Settings {
    /// Those of the service, for one key.
    #[must_use]
    pub fn new(key: Credentials) -> Self {
        Self {
            keys: vec![key],
            folder: None,
            skew_max: SKEW_MAX,
            long_polls_max: 1_000,
            calls_per_second_max: 3_000,
        }
    }
}

/// The server.
pub struct OfflineMns {
    settings: Settings,
    clock: Arc<dyn Clock>,
    store: Mutex<Store>,
    /// Wakes those who wait for messages of a queue.
    waiters: Mutex<HashMap<String, Arc<Notify>>>,
    /// How many wait.
    waiting: AtomicUsize,
    troubles: Mutex<Troubles>,
}

/// Counts one who waits, while it lives.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl OfflineMns {
    /// A server with the queues that its folder holds, if it has one.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub fn new(settings: Settings, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let store = match &settings.folder {
            Some(folder) => Store::open(folder)?,
            None => Store::default(),
        };
        let calls_max = settings.calls_per_second_max;
        Ok(Self {
            settings,
            clock,
            store: Mutex::new(store),
            waiters: Mutex::default(),
            waiting: AtomicUsize::new(0),
            troubles: Mutex::new(Troubles::new(calls_max)),
        })
    }

    /// Makes the troubles that `faults` tells from now on, by `seed`.
    pub fn set_faults(&self, faults: Faults, seed: u64) {
        lock(&self.troubles).set(faults, seed);
    }

    fn now(&self) -> Now {
        self.clock.now().into()
    }

    fn waiters(&self, name: &str) -> Arc<Notify> {
        let mut waiters = lock(&self.waiters);
        waiters.entry(name.to_owned()).or_default().clone()
    }

    /// Wakes who waits for messages of the queue.
    fn wake(&self, name: &str) {
        if let Some(waiters) = lock(&self.waiters).get(name) {
            waiters.notify_waiters();
        }
    }

    async fn work(&self, mut ask: Ask, host: &str) -> Result<Reply> {
        let now = self.now();
        let trouble = lock(&self.troubles).next(&mut ask, now.ms)?;
        let answer = match ask {
            Ask::Receive(name, take) => self.receive(&name, take).await,
            ask => self.at_once(ask, host, now),
        };
        match trouble {
            Trouble::AnswerLost => Err(Refusal::internal("Trouble was asked for.")),
            Trouble::None => answer,
        }
    }

    /// All but receiving.
    fn at_once(&self, ask: Ask, host: &str, now: Now) -> Result<Reply> {
        let mut store = lock(&self.store);
        match ask {
            Ask::Create(name, attributes) => {
                let url = store::url(host, &name);
                store.create(&name, attributes, url, now)
            }
            Ask::SetAttributes(name, attributes) => store.set_attributes(&name, attributes, now),
            Ask::Attributes(name) => store.attributes(&name, now),
            Ask::DeleteQueue(name) => {
                let reply = store.delete_queue(&name);
                self.wake(&name);
                lock(&self.waiters).remove(&name);
                reply
            }
            Ask::List(listing) => Ok(store.list(&listing, host, now)),
            Ask::Send(name, messages, batch) => {
                let reply = store.send(&name, messages, batch, now);
                self.wake(&name);
                reply
            }
            Ask::Peek(name, take) => store.peek(&name, take, now),
            Ask::Delete(name, handle) => store.delete(&name, &handle, now),
            Ask::DeleteBatch(name, handles) => store.delete_batch(&name, &handles, now),
            Ask::ChangeVisibility(name, handle, seconds) => {
                let reply = store.change(&name, &handle, seconds, now);
                self.wake(&name);
                reply
            }
            Ask::Receive(..) => Err(Refusal::internal("A receive may wait.")),
        }
    }

    /// Hands out messages, or waits for the first.
    async fn receive(&self, name: &str, take: Take) -> Result<Reply> {
        let begun = self.now();
        // Asked in any case: nobody waits for a queue that there is not.
        let usual_s = lock(&self.store).polling_wait(name, begun)?;
        let wait_s = take.wait.unwrap_or(usual_s);
        let mut end_ms = begun.ms + u64::from(wait_s) * 1_000;
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _counted = Waiting(&self.waiting);
        if before >= self.settings.long_polls_max {
            end_ms = begun.ms;
        }
        loop {
            let now = self.now();
            let waiters;
            let (next_ms, woken) = {
                // Looks and begins to listen under one lock, so that nothing is missed in between:
                // neither a message nor that the queue, and with it whom it wakes, is made anew.
                let mut store = lock(&self.store);
                match store.receive(name, take, now)? {
                    Ok(reply) => return Ok(reply),
                    Err(next_ms) => {
                        waiters = self.waiters(name);
                        (next_ms.unwrap_or(u64::MAX), waiters.notified())
                    }
                }
            };
            if now.ms >= end_ms {
                return Err(Refusal::no_message());
            }
            let pause = Duration::from_millis(next_ms.min(end_ms).saturating_sub(now.ms).max(1));
            tokio::select! {
                () = woken => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}

#[async_trait]
impl Offline for OfflineMns {
    async fn answer(&self, request: Request<Bytes>) -> Response<Bytes> {
        let request_id = uuid::Uuid::new_v4().simple().to_string().to_uppercase();
        let request_id = &request_id[..24];
        let authority = request.uri().authority().map(http::uri::Authority::as_str);
        let host = authority.or_else(|| auth::header(request.headers(), "host"));
        let host = host.unwrap_or("localhost").to_owned();
        let target = request.uri().path_and_query();
        let target = target.map_or("/", http::uri::PathAndQuery::as_str);
        let (keys, skew_max) = (&self.settings.keys, self.settings.skew_max);
        let checked = auth::check(&request, target, keys, skew_max, self.clock.now());
        let answer = match checked.and_then(|()| Ask::read(&request, target)) {
            Ok(ask) => self.work(ask, &host).await,
            Err(refusal) => Err(refusal),
        };
        let reply = answer.unwrap_or_else(|refusal| Reply::refusal(&refusal, request_id, &host));
        // By the clock that judges requests: whose own is wrong can follow it.
        reply.response(request_id, self.clock.now())
    }
}

/// Everything that these locks guard is changed in steps that cannot panic between.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
