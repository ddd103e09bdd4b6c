//! Background tasks whose panic must not go unseen.

use std::future::Future;

use futures_util::FutureExt as _;

/// Spawns `work`, without which the process must not go on: a panic in it is a broken
/// invariant, so the process ends and whoever supervises it starts a fresh one.
pub fn critical(name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
    // Never joined: the guard is what watches it.
    drop(tokio::spawn(guarded(name, work)));
}

/// `work`, with the end of the process when it panics.
pub async fn guarded<T>(name: &'static str, work: impl Future<Output = T> + Send) -> T {
    let ended = std::panic::AssertUnwindSafe(work).catch_unwind().await;
    ended.unwrap_or_else(|_panic| {
        tracing::error!(
            task = name,
            "a task without which nothing is safe has panicked; ending the process"
        );
        std::process::abort()
    })
}
