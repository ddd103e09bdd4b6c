//! Batches of lines on their way: the one being gathered, and those that wait, oldest first.
//!
//! Every batch is a file of lines in the folder, `<number>.lines`, written as the lines come and
//! deleted when they are delivered. Nothing is synced: the lines are in the access log as well.
//! Where the disk fails, a few batches are held in memory instead; the folder and the memory
//! have limits, and a spool without room says so and takes nothing.

use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// A batch is closed when it has so many bytes,
pub(super) const BATCH_BYTES_MAX: usize = 512 << 10;
/// or so many lines,
pub(super) const BATCH_LINES_MAX: usize = 4_000;
/// or is so old and no other waits: while SLS is away, few files grow and not many are made.
pub(super) const BATCH_AGE_MAX: Duration = Duration::from_secs(1);
/// The most bytes held in memory while the disk fails.
const MEMORY_BYTES_MAX: u64 = 4 << 20;
/// What may be taken beyond the limit, for grabs that are counted: this part of it.
const RESERVE_PART: u64 = 8;
/// What the names of batches end in.
const SUFFIX: &str = "lines";

/// The file that whoever ships from the folder has locked.
const LOCK: &str = "lock";

/// Whether somebody ships from `folder`.
pub(super) fn is_locked(folder: &Path) -> io::Result<bool> {
    let lock = match File::open(folder.join(LOCK)) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    match lock.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Bytes that wait in `folder`; none where there is no folder.
pub(super) fn bytes_left(folder: &Path) -> io::Result<u64> {
    match batches(folder) {
        Ok(batches) => Ok(batches.iter().map(|batch| batch.bytes).sum()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

/// The batches in `folder`, in no order.
fn batches(folder: &Path) -> io::Result<Vec<Batch>> {
    let mut batches = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        let number = path
            .file_stem()
            .and_then(|stem| stem.to_str()?.parse().ok());
        if let Some(number) = number
            && path.extension().is_some_and(|suffix| suffix == SUFFIX)
        {
            batches.push(Batch {
                number,
                bytes: entry.metadata()?.len(),
                in_memory: None,
            });
        }
    }
    Ok(batches)
}

/// The folder and what is in it.
#[derive(Debug)]
pub(super) struct Spool {
    folder: PathBuf,
    bytes_max: u64,
    /// Held for as long as the folder is ours.
    _lock: File,
    /// The number of the next batch.
    next: u64,
    /// Oldest first.
    waiting: VecDeque<Batch>,
    /// Those that could not be read, or that the service would not have as it was: they must not
    /// hold up the others.
    aside: VecDeque<Batch>,
    gathered: Option<Gathered>,
    /// The disk failed last time.
    failing: bool,
}

/// A batch that is closed.
#[derive(Debug)]
struct Batch {
    number: u64,
    bytes: u64,
    /// Its lines, where the disk does not have them.
    in_memory: Option<Vec<u8>>,
}

/// The batch that is being gathered.
#[derive(Debug)]
struct Gathered {
    number: u64,
    since: Instant,
    lines: Vec<u8>,
    count: usize,
    /// `None` since the disk failed.
    file: Option<File>,
}

impl Spool {
    /// Opens or makes the folder. What an earlier process left there is sent first.
    pub(super) fn open(folder: &Path, bytes_max: u64) -> io::Result<Self> {
        // Users and addresses are in it, for nobody else to read.
        let mut folders = fs::DirBuilder::new();
        folders.recursive(true).mode(0o700).create(folder)?;
        let mut options = OpenOptions::new();
        let lock = options.write(true).create(true).truncate(false);
        let lock = lock.open(folder.join(LOCK))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::Error(error) => error,
            TryLockError::WouldBlock => io::ErrorKind::ResourceBusy.into(),
        })?;
        let mut waiting = batches(folder)?;
        waiting.sort_by_key(|batch| batch.number);
        Ok(Self {
            folder: folder.to_owned(),
            bytes_max,
            _lock: lock,
            next: waiting.last().map_or(1, |last| last.number + 1),
            waiting: waiting.into(),
            aside: VecDeque::new(),
            gathered: None,
            failing: false,
        })
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number:016}.{SUFFIX}"))
    }

    /// Bytes of all lines that are here.
    pub(super) fn bytes(&self) -> u64 {
        let gathered = self.gathered.iter().map(|g| g.lines.len() as u64);
        self.closed().map(|batch| batch.bytes).chain(gathered).sum()
    }

    fn closed(&self) -> impl Iterator<Item = &Batch> {
        self.waiting.iter().chain(&self.aside)
    }

    /// Bytes of closed batches that the disk does not have.
    fn bytes_in_memory(&self) -> u64 {
        let held = |batch: &Batch| batch.in_memory.as_ref().map_or(0, |_| batch.bytes);
        self.closed().map(held).sum()
    }

    /// Whether more lines can be taken.
    pub(super) fn has_room(&self) -> bool {
        self.bytes() < self.bytes_max && self.bytes_in_memory() < MEMORY_BYTES_MAX
    }

    /// Whether a few lines can be taken though there is no room for all.
    pub(super) fn has_reserve(&self) -> bool {
        let with_reserve = |max: u64| max + max / RESERVE_PART;
        self.bytes() < with_reserve(self.bytes_max)
            && self.bytes_in_memory() < with_reserve(MEMORY_BYTES_MAX)
    }

    /// Takes whole lines. The caller has looked for room; one batch above it does no harm.
    pub(super) fn add(&mut self, mut lines: &[u8], now: Instant) {
        while !lines.is_empty() {
            let gathered = match &mut self.gathered {
                Some(gathered) => gathered,
                none => {
                    let number = self.next;
                    self.next += 1;
                    none.insert(Gathered {
                        number,
                        since: now,
                        lines: Vec::new(),
                        count: 0,
                        file: None,
                    })
                }
            };
            let is_new = gathered.lines.is_empty();
            let taken = gathered.take(lines);
            let number = gathered.number;
            let path = self.path(number);
            self.write(&path, is_new, taken);
            lines = &lines[taken..];
            if !lines.is_empty() {
                self.close_gathered();
            }
        }
    }

    /// Writes the last `taken` bytes of the batch that is being gathered.
    fn write(&mut self, path: &Path, is_new: bool, taken: usize) {
        let Some(gathered) = &mut self.gathered else {
            return;
        };
        if is_new {
            let mut options = OpenOptions::new();
            let options = options.write(true).create(true).truncate(true);
            gathered.file = note(&mut self.failing, options.open(path));
        }
        if let Some(file) = &mut gathered.file {
            let from = gathered.lines.len() - taken;
            let written = file.write_all(&gathered.lines[from..]);
            if note(&mut self.failing, written).is_none() {
                // Half a line may be there; memory has them all.
                gathered.file = None;
            }
        }
    }

    /// Closes the batch that is being gathered once it is old enough and no other waits, or at
    /// once.
    pub(super) fn close_batch(&mut self, now: Instant, at_once: bool) {
        let next = self.waiting.is_empty();
        let old = |gathered: &Gathered| now.duration_since(gathered.since) >= BATCH_AGE_MAX;
        if self
            .gathered
            .as_ref()
            .is_some_and(|g| at_once || next && old(g))
        {
            self.close_gathered();
        }
    }

    fn close_gathered(&mut self) {
        if let Some(gathered) = self.gathered.take() {
            let bytes = gathered.lines.len() as u64;
            let on_disk = gathered.file.is_some();
            self.waiting.push_back(Batch {
                number: gathered.number,
                bytes,
                in_memory: (!on_disk).then_some(gathered.lines),
            });
        }
    }

    /// The lines of the oldest batch that is closed, or else of one that was set aside; `None`
    /// when there is none, or when it cannot be read now and is set aside. One that is gone has
    /// no lines.
    pub(super) fn first(&mut self) -> Option<Vec<u8>> {
        let again = self.waiting.is_empty();
        if again {
            self.waiting.extend(self.aside.pop_front());
        }
        let first = self.waiting.front()?;
        if let Some(lines) = &first.in_memory {
            return Some(lines.clone());
        }
        let path = self.path(first.number);
        match fs::read(&path) {
            Ok(lines) => Some(lines),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some(Vec::new()),
            Err(error) => {
                if !again {
                    tracing::warn!(%error, path = %path.display(), "a batch for SLS cannot be read now");
                }
                self.set_first_aside();
                None
            }
        }
    }

    /// Whether no closed batch waits that can be read.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Puts the oldest batch behind all others: its turn comes again when no other waits.
    pub(super) fn set_first_aside(&mut self) {
        self.aside.extend(self.waiting.pop_front());
    }

    /// Forgets the oldest batch.
    pub(super) fn remove_first(&mut self) {
        if let Some(first) = self.waiting.pop_front() {
            let removed = fs::remove_file(self.path(first.number));
            let gone = matches!(&removed, Err(error) if error.kind() == io::ErrorKind::NotFound);
            if !gone {
                note(&mut self.failing, removed);
            }
        }
    }

    /// Tries again to bring batches in memory to the disk, for a process that ends; gives the
    /// lines that it cannot.
    pub(super) fn keep(&mut self) -> Vec<Vec<u8>> {
        self.close_gathered();
        self.waiting.append(&mut self.aside);
        for at in 0..self.waiting.len() {
            let path = self.path(self.waiting[at].number);
            let Some(lines) = &self.waiting[at].in_memory else {
                continue;
            };
            if note(&mut self.failing, fs::write(path, lines)).is_some() {
                self.waiting[at].in_memory = None;
            }
        }
        let unkept = self.waiting.iter_mut();
        unkept.filter_map(|batch| batch.in_memory.take()).collect()
    }
}

impl Gathered {
    /// Takes as many of `lines` as fit, at least one, and says how many bytes.
    fn take(&mut self, lines: &[u8]) -> usize {
        let mut taken = 0;
        for line in lines.split_inclusive(|&byte| byte == b'\n') {
            let full = self.count >= BATCH_LINES_MAX
                || self.lines.len() + taken + line.len() > BATCH_BYTES_MAX;
            if full && self.count > 0 {
                break;
            }
            taken += line.len();
            self.count += 1;
        }
        self.lines.extend_from_slice(&lines[..taken]);
        taken
    }
}

/// Says once that the disk fails, and once that it does not any more.
fn note<T>(failing: &mut bool, result: io::Result<T>) -> Option<T> {
    match result {
        Ok(value) => {
            if std::mem::take(failing) {
                tracing::info!("what waits for SLS is kept on disk again");
            }
            Some(value)
        }
        Err(error) => {
            if !std::mem::replace(failing, true) {
                tracing::warn!(%error, "what waits for SLS cannot be kept on disk");
            }
            None
        }
    }
}
