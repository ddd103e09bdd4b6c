//! Logging the users in, many at once, before the first tap.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderValue, Method};
use rules::UserId;

use super::progress;
use crate::{
    http::{
        contract::{Session, error_of, retry_after, worth_repeating},
        link::{Link, request},
        target::Target,
    },
    options::{CrowdError, Options},
};

/// How long a login is tried again before the run is refused.
const LOGIN_WITHIN: Duration = Duration::from_secs(60);
/// The pause before a login is tried again, unless the server asks for a longer one.
const LOGIN_PAUSE: Duration = Duration::from_millis(200);
/// The longest pause that the server may ask for.
const LOGIN_PAUSE_MAX: Duration = Duration::from_secs(10);

/// A user who is logged in.
#[derive(Debug)]
pub(crate) struct User {
    /// The public id, as the server gave it.
    pub(crate) id: UserId,
    /// The Authorization header; cloning it shares the bytes.
    pub(crate) bearer: HeaderValue,
}

/// Logs every user in; the result is in the order of their numbers.
pub(crate) async fn log_in(
    options: &Options,
    target: &Arc<Target>,
) -> Result<Vec<User>, CrowdError> {
    let next = Arc::new(AtomicU32::new(0));
    let wanted = usize::try_from(options.users).unwrap_or(usize::MAX);
    let tasks: Vec<_> = (0..options.connections.min(wanted))
        .map(|_| {
            let worker = Worker {
                options: options.clone(),
                target: target.clone(),
                link: Link::new(target.clone()),
                next: next.clone(),
            };
            tokio::spawn(worker.run())
        })
        .collect();
    let display = progress::Logins::start(options, next.clone());
    let mut users: Vec<Option<User>> = Vec::new();
    users.resize_with(wanted, || None);
    let mut failed = None;
    for task in tasks {
        match task.await {
            Ok(Ok(logged_in)) => {
                for (index, user) in logged_in {
                    users[index as usize] = Some(user);
                }
            }
            Ok(Err(error)) => {
                // The others see that there is nobody left and end too.
                next.store(options.users, Ordering::Relaxed);
                failed = failed.or(Some(error));
            }
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }
    display.finish();
    match failed {
        Some(error) => Err(error),
        None => Ok(users.into_iter().flatten().collect()),
    }
}

struct Worker {
    options: Options,
    target: Arc<Target>,
    link: Link,
    next: Arc<AtomicU32>,
}

impl Worker {
    async fn run(mut self) -> Result<Vec<(u32, User)>, CrowdError> {
        let mut users = Vec::new();
        loop {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            if index >= self.options.users {
                // Stays at the end however many workers come by.
                self.next.fetch_min(self.options.users, Ordering::Relaxed);
                return Ok(users);
            }
            users.push((index, self.one(index).await?));
        }
    }

    /// Logs one user in. A login changes nothing on the server, so it is repeated freely.
    async fn one(&mut self, index: u32) -> Result<User, CrowdError> {
        let code = self.options.code(index);
        let doing = || format!("logging in with the code of user {}", u64::from(index) + 1);
        let body = serde_json::json!({ "code": code }).to_string();
        let body = Bytes::from(body);
        let began = Instant::now();
        loop {
            let path = self.target.path("/account/sessions");
            let ask = request(&self.target, Method::POST, path, None, Some(body.clone()));
            let reply = self.link.call(ask, self.options.attempt_timeout).await;
            let pause = match reply {
                Ok(reply) if reply.status.is_success() => {
                    return user_of(&reply.body).map_err(|cause| CrowdError::Unreadable {
                        doing: doing(),
                        cause,
                    });
                }
                Ok(reply) => {
                    let again = worth_repeating(reply.status) && began.elapsed() < LOGIN_WITHIN;
                    if !again {
                        let error = error_of(&reply.body);
                        return Err(CrowdError::Refused {
                            doing: doing(),
                            status: reply.status.as_u16(),
                            code: error.code,
                            message: error.message,
                        });
                    }
                    retry_after(&reply.headers).unwrap_or(LOGIN_PAUSE)
                }
                Err(lost) if began.elapsed() >= LOGIN_WITHIN => {
                    return Err(CrowdError::Unreachable {
                        url: self.target.url.clone(),
                        cause: lost.to_string(),
                    });
                }
                Err(_) => LOGIN_PAUSE,
            };
            tokio::time::sleep(pause.clamp(LOGIN_PAUSE, LOGIN_PAUSE_MAX)).await;
        }
    }
}

fn user_of(body: &[u8]) -> Result<User, String> {
    let session: Session = serde_json::from_slice(body).map_err(|cause| cause.to_string())?;
    let mut bearer = HeaderValue::from_str(&format!("Bearer {}", session.token))
        .map_err(|_| "the token has characters that no header can carry".to_owned())?;
    bearer.set_sensitive(true);
    Ok(User {
        id: session.user,
        bearer,
    })
}
