//! What the offline MNS keeps on disk, if asked: one file, a line of JSON for each change, read
//! again at the next start.
//!
//! Honest about what it is: what was answered survives the end of the process, not that of the
//! machine, for nothing is flushed to the disk itself. When the file cannot be written, changes
//! are refused from then on.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead as _, BufReader, BufWriter, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    queue::{Message, Queue},
    store::Queues,
};
use crate::mns::model::QueueAttributes;

/// The file is written anew, without what is over, once it is this long and several times as
/// long as it was when last written anew.
const REWRITE_BYTES: u64 = 64 << 20;
const REWRITE_FACTOR: u64 = 4;

/// One change.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub(super) enum Record {
    /// A queue is as this, whether it was before or not.
    Queue {
        name: String,
        number: u64,
        attributes: QueueAttributes,
        create_time: u64,
        last_modify_time: u64,
        given: u64,
    },
    /// A queue and its messages are gone.
    Dropped { name: String },
    /// A message is as this, whether it was before or not.
    Message {
        queue: String,
        number: u64,
        message: Message,
    },
    /// A message is gone.
    Gone { queue: String, number: u64 },
}

impl Record {
    /// The record of a queue, without its messages.
    pub(super) fn of_queue(name: &str, queue: &Queue) -> Self {
        Self::Queue {
            name: name.to_owned(),
            number: queue.number,
            attributes: queue.attributes,
            create_time: queue.create_time,
            last_modify_time: queue.last_modify_time,
            given: queue.given,
        }
    }

    /// The record of a message as it now is.
    pub(super) fn of_message(name: &str, queue: &Queue, number: u64) -> Self {
        let name = name.to_owned();
        match queue.message(number) {
            Some(message) => Self::Message {
                queue: name,
                number,
                message: message.clone(),
            },
            None => Self::Gone {
                queue: name,
                number,
            },
        }
    }

    /// Makes the change.
    fn apply(self, queues: &mut Queues) {
        match self {
            Self::Queue {
                name,
                number,
                attributes,
                create_time,
                last_modify_time,
                given,
            } => {
                let entry = queues.entry(name);
                let queue = entry.or_insert_with(|| Queue::new(number, attributes, create_time));
                queue.attributes = attributes;
                queue.last_modify_time = last_modify_time;
                queue.given = queue.given.max(given);
            }
            Self::Dropped { name } => drop(queues.remove(&name)),
            Self::Message {
                queue,
                number,
                message,
            } => {
                if let Some(queue) = queues.get_mut(&queue) {
                    queue.put(number, message);
                }
            }
            Self::Gone { queue, number } => {
                if let Some(queue) = queues.get_mut(&queue) {
                    queue.given = queue.given.max(number);
                    queue.remove(number);
                }
            }
        }
    }
}

/// The file.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    bytes: u64,
    rewrite_at: u64,
    broken: bool,
}

impl Journal {
    /// Opens `mns.jsonl` in `folder`, which is made if it is missing; and the queues that it
    /// holds. A last line that was not written whole is left out.
    ///
    /// # Errors
    /// When it cannot be read or written, holds something else, or another process has it.
    pub(super) fn open(folder: &Path) -> io::Result<(Self, Queues)> {
        std::fs::create_dir_all(folder)?;
        let path = folder.join("mns.jsonl");
        let file = OpenOptions::new()
            .create(true)
            .read(true)
            .append(true)
            .open(&path)?;
        file.try_lock().map_err(io::Error::other)?;
        let mut queues = Queues::new();
        let mut lines = BufReader::new(&file);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line)? > 0 && line.ends_with(b"\n") {
            let record: Record = serde_json::from_slice(&line)?;
            record.apply(&mut queues);
            line.clear();
        }
        let mut journal = Self {
            path,
            file,
            bytes: 0,
            rewrite_at: 0,
            broken: false,
        };
        journal.rewrite(&queues)?;
        Ok((journal, queues))
    }

    /// Writes `records`, which `queues` have seen already.
    ///
    /// # Errors
    /// When it cannot, or once could not.
    pub(super) fn write(&mut self, records: &[Record], queues: &Queues) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::other("an earlier change could not be written"));
        }
        let written = self.append(records, queues);
        self.broken = written.is_err();
        written
    }

    fn append(&mut self, records: &[Record], queues: &Queues) -> io::Result<()> {
        let mut lines = Vec::new();
        for record in records {
            serde_json::to_writer(&mut lines, record)?;
            lines.push(b'\n');
        }
        self.file.write_all(&lines)?;
        self.bytes += lines.len() as u64;
        if self.bytes > self.rewrite_at {
            self.rewrite(queues)?;
        }
        Ok(())
    }

    /// Writes the file anew, beside the former, and puts it in its place.
    fn rewrite(&mut self, queues: &Queues) -> io::Result<()> {
        let beside = self.path.with_extension("new");
        let mut file = BufWriter::new(File::create(&beside)?);
        let mut line = |record: &Record| {
            serde_json::to_writer(&mut file, record)?;
            file.write_all(b"\n")
        };
        for (name, queue) in queues {
            line(&Record::of_queue(name, queue))?;
            for (number, _) in queue.messages() {
                line(&Record::of_message(name, queue, number))?;
            }
        }
        let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.try_lock().map_err(io::Error::other)?;
        std::fs::rename(&beside, &self.path)?;
        self.bytes = file.metadata()?.len();
        self.rewrite_at = (self.bytes * REWRITE_FACTOR).max(REWRITE_BYTES);
        self.file = file;
        Ok(())
    }
}
