//! A small number for each living thread, which no other living thread has.
//!
//! A thread gets its number when it first asks, and gives it back when it ends, under one lock:
//! whatever the former owner of a number wrote, its next owner sees. That is what makes plain
//! reads and writes enough in [`crate::counters`].

use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many threads have a number of their own; further ones have none.
pub(crate) const SLOTS: usize = 64;

struct Slots {
    /// The least number that was never given out.
    unused: usize,
    /// Numbers given back.
    free: Vec<usize>,
}

static SLOT_NUMBERS: Mutex<Slots> = Mutex::new(Slots {
    unused: 0,
    free: Vec::new(),
});

fn slot_numbers() -> MutexGuard<'static, Slots> {
    // A number moves in one step: a panic elsewhere leaves the list right.
    SLOT_NUMBERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A thread's number, given back when the thread ends.
struct Owned(Option<usize>);

impl Owned {
    fn take() -> Self {
        let mut slots = slot_numbers();
        if let Some(slot) = slots.free.pop() {
            return Self(Some(slot));
        }
        if slots.unused == SLOTS {
            return Self(None);
        }
        slots.unused += 1;
        Self(Some(slots.unused - 1))
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        if let Some(slot) = self.0 {
            slot_numbers().free.push(slot);
        }
    }
}

thread_local! {
    static OWNED: Owned = Owned::take();
}

/// This thread's number, below [`SLOTS`]; `None` when all are taken, or when the thread is
/// ending and has given its number back.
pub(crate) fn thread_slot() -> Option<usize> {
    OWNED.try_with(|owned| owned.0).ok().flatten()
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, sync::Barrier, thread};

    use super::*;

    #[test]
    fn threads_alive_together_have_different_numbers_or_none() {
        const THREADS: usize = SLOTS + 20;
        let together = Barrier::new(THREADS);
        let slots: Vec<Option<usize>> = thread::scope(|scope| {
            let ask = || {
                let slot = thread_slot();
                assert_eq!(slot, thread_slot());
                together.wait();
                slot
            };
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(ask)).collect();
            let join = |t: thread::ScopedJoinHandle<'_, _>| t.join().expect("no thread fails");
            threads.into_iter().map(join).collect()
        });
        let given: Vec<usize> = slots.iter().copied().flatten().collect();
        assert!(given.iter().all(|&slot| slot < SLOTS));
        assert_eq!(given.iter().collect::<HashSet<_>>().len(), given.len());
        assert!(slots.contains(&None));
    }
}
