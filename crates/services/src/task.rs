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

/// Does `work` to its end, also when its caller goes away or has no more time.
pub async fn to_the_end<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    match tokio::spawn(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_begun_ends_without_its_caller() {
        let (done, wait) = tokio::sync::oneshot::channel();
        let mut call = Box::pin(to_the_end(async move {
            tokio::task::yield_now().await;
            done.send(7)
        }));
        assert!(futures_util::poll!(&mut call).is_pending());
        drop(call);
        assert_eq!(wait.await, Ok(7));
    }
}
