//! Whether the machine itself stood still: a thread that brings a few bytes to the disk again and
//! again, and notes what took far longer than it should.
//!
//! A grab that needs the ledger or the account service is answered 503 when these have not answered
//! in half a second, as they cannot on a machine whose disk or processors are taken for so long. A
//! test of restarts has to tell such a 503 from one that a restart has caused.

use std::{
    fs::File,
    io::Write as _,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::steady::unix_now;

/// Between two writes.
const PAUSE: Duration = Duration::from_millis(10);
/// What a pause and a write may take, in seconds: half of what grabs wait for an answer that costs
/// several such writes.
const LONG: f64 = 0.25;

/// The machine, watched.
pub(crate) struct Machine {
    watching: Arc<AtomicBool>,
    stood_still: Arc<Mutex<Vec<(f64, f64)>>>,
    thread: Option<JoinHandle<()>>,
}

impl Machine {
    /// Watched from now on.
    pub(crate) fn watch() -> Self {
        let watching = Arc::new(AtomicBool::new(true));
        let stood_still = Arc::<Mutex<Vec<(f64, f64)>>>::default();
        let (going, noted) = (watching.clone(), stood_still.clone());
        let mut file = tempfile::tempfile().expect("a temporary file can be made");
        let thread = thread::spawn(move || {
            while going.load(Ordering::Relaxed) {
                let began = unix_now();
                thread::sleep(PAUSE);
                write(&mut file);
                let ended = unix_now();
                if ended - began > LONG {
                    let mut noted = noted.lock().unwrap_or_else(PoisonError::into_inner);
                    noted.push((began, ended));
                }
            }
        });
        Self {
            watching,
            stood_still,
            thread: Some(thread),
        }
    }

    /// Whether it stood still between two instants, in seconds since the Unix epoch, and how long.
    pub(crate) fn stood_still(&self, from: f64, to: f64) -> Option<Duration> {
        let noted = self.stood_still.lock();
        let noted = noted.unwrap_or_else(PoisonError::into_inner);
        let within = noted
            .iter()
            .filter(|(began, ended)| *began < to && from < *ended);
        let longest = within.map(|(began, ended)| ended - began);
        longest.max_by(f64::total_cmp).map(Duration::from_secs_f64)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.watching.store(false, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It ends by itself, within a write; a panic in it was printed.
            let _ended = thread.join().is_ok();
        }
    }
}

fn write(file: &mut File) {
    file.write_all(&[0; 64]).expect("the disk has room");
    file.sync_data().expect("the disk takes it");
}
