//! The way of a claim's end back to the thread that its grab waits on.
//!
//! Waking a task of another thread's runtime is a system call. A commit ends hundreds of claims
//! at once, so they travel together, one round for each thread, and each is told its end by a
//! task of that thread, which costs next to nothing.

use std::cell::RefCell;

use tokio::sync::{mpsc, oneshot};

use super::committer::Claimed;

/// Claims that have ended, and where each one's grab waits.
type Ended = Vec<(oneshot::Sender<Claimed>, Claimed)>;

/// The most rounds on the way to one thread. One that is so far behind is told claim by claim.
const ROUNDS_MAX: usize = 64;

/// The way to one thread.
#[derive(Clone)]
struct Courier(mpsc::Sender<Ended>);

thread_local! {
    static TO_HERE: RefCell<Option<Courier>> = const { RefCell::new(None) };
}

/// Has what claims on this thread came to brought here from now on. To be called in the
/// single-threaded runtime that serves connections on this thread.
pub(crate) fn start_here() {
    let (courier, mut rounds) = mpsc::channel::<Ended>(ROUNDS_MAX);
    TO_HERE.set(Some(Courier(courier)));
    tokio::spawn(async move {
        while let Some(ended) = rounds.recv().await {
            tell_all(ended);
        }
    });
}

/// Where a claim's end is to be told.
pub(crate) struct Reply {
    to: oneshot::Sender<Claimed>,
    /// `None` when the grab was not made on a thread with a courier.
    by: Option<Courier>,
}

impl Reply {
    /// A reply, and what waits for it on this thread.
    pub(crate) fn new() -> (Self, oneshot::Receiver<Claimed>) {
        let (to, wait) = oneshot::channel();
        let by = TO_HERE.with_borrow(Clone::clone);
        (Self { to, by }, wait)
    }

    /// Whether nobody waits any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.to.is_closed()
    }
}

/// What a commit's claims came to, gathered by thread.
#[derive(Default)]
pub(crate) struct Round(Vec<(Courier, Ended)>);

impl Round {
    /// Tells `reply`, at the latest when the round is brought.
    pub(crate) fn add(&mut self, reply: Reply, claimed: Claimed) {
        let Reply { to, by } = reply;
        let Some(by) = by else {
            return tell(to, claimed);
        };
        let known = self.0.iter_mut().find(|(one, _)| one.0.same_channel(&by.0));
        match known {
            Some((_, ended)) => ended.push((to, claimed)),
            None => self.0.push((by, vec![(to, claimed)])),
        }
    }

    /// Brings everything on its way.
    pub(crate) fn bring(self) {
        for (courier, ended) in self.0 {
            if let Err(refused) = courier.0.try_send(ended) {
                // Too far behind; or the thread has ended, and nobody waits there.
                tell_all(refused.into_inner());
            }
        }
    }
}

fn tell_all(ended: Ended) {
    for (to, claimed) in ended {
        tell(to, claimed);
    }
}

fn tell(to: oneshot::Sender<Claimed>, claimed: Claimed) {
    // The client may have gone away; what is durable is durable all the same.
    let _gone = to.send(claimed).is_err();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_grab_is_told_on_its_thread_and_a_thread_that_ended_is_no_trouble() {
        let runtime = || {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            builder.build().expect("a runtime")
        };
        // A grab on a thread without a courier, and others on two threads with one.
        let (reply, wait) = Reply::new();
        let mut replies = vec![reply];
        let mut threads = Vec::new();
        for waits in [true, true, false] {
            let (hand_over, handed) = std::sync::mpsc::sync_channel(1);
            threads.push(std::thread::spawn(move || {
                runtime().block_on(async {
                    start_here();
                    let (several, waiting): (Vec<_>, Vec<_>) = (0..3).map(|_| Reply::new()).unzip();
                    hand_over.send(several).expect("the test waits");
                    let mut told = 0;
                    for wait in waiting.into_iter().filter(|_| waits) {
                        told += usize::from(matches!(wait.await, Ok(Claimed::Ended)));
                    }
                    told
                })
            }));
            replies.extend(handed.recv().expect("the thread sends them"));
        }
        let gone = threads
            .pop()
            .expect("three")
            .join()
            .expect("it ends by itself");
        assert_eq!(gone, 0);
        let mut round = Round::default();
        for reply in replies {
            round.add(reply, Claimed::Ended);
        }
        assert_eq!(round.0.len(), 3, "one for each thread");
        round.bring();
        for thread in threads {
            assert_eq!(thread.join().expect("it was told"), 3);
        }
        assert!(matches!(runtime().block_on(wait), Ok(Claimed::Ended)));
    }
}
