//! What keeps the offline server's data over a restart: a file of records, only appended to.
//!
//! A record is its length (4 bytes, little-endian), the first 4 bytes of its MD5, and itself.
//! A torn last record is what a killed process leaves, and is cut off; damage before that stops
//! the start. Nothing is synced: this is a development tool.

use std::{
    fs::{File, OpenOptions},
    io::{self, Seek as _, SeekFrom, Write as _},
    path::Path,
};

use md5::{Digest as _, Md5};
use prost::Message;

use super::state::{Change, State};
use crate::sls::proto::LogGroup;

const FILE: &str = "sls.journal";
const HEAD: usize = 8;
/// The most bytes of a record: more than any body with its names.
const RECORD_BYTES_MAX: usize = 16 << 20;

/// One record: a change in JSON, or a group of logs.
#[derive(Clone, PartialEq, Eq, Message)]
struct Record {
    #[prost(string, tag = "1")]
    change: String,
    #[prost(string, tag = "2")]
    project: String,
    #[prost(string, tag = "3")]
    logstore: String,
    #[prost(bytes = "vec", tag = "4")]
    group: Vec<u8>,
}

/// The open file.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    /// Its length in whole records.
    len: u64,
}

fn digest(record: &[u8]) -> [u8; 4] {
    let digest = Md5::digest(record);
    [digest[0], digest[1], digest[2], digest[3]]
}

impl Journal {
    /// Opens or makes the journal in `folder` and brings back what it keeps.
    pub(super) fn open(folder: &Path, state: &mut State) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(folder.join(FILE))?;
        let end = file.metadata()?.len();
        let mut len = 0;
        let mut reader = io::BufReader::new(&mut file);
        while let Some(record) = read_record(&mut reader, end - len)? {
            restore(&record, state).map_err(|error| {
                let message = format!("{FILE} is damaged at byte {len}: {error}");
                io::Error::new(io::ErrorKind::InvalidData, message)
            })?;
            len += (HEAD + record.len()) as u64;
        }
        if len < end {
            tracing::warn!(bytes = end - len, "cut a torn record off {FILE}");
            file.set_len(len)?;
        }
        Ok(Self { file, len })
    }

    pub(super) fn keep(&mut self, change: &Change) -> io::Result<()> {
        let change = serde_json::to_string(change)?;
        self.append(&Record {
            change,
            ..Record::default()
        })
    }

    /// Keeps an encoded group of logs.
    pub(super) fn keep_logs(
        &mut self,
        project: &str,
        logstore: &str,
        group: &[u8],
    ) -> io::Result<()> {
        self.append(&Record {
            change: String::new(),
            project: project.to_owned(),
            logstore: logstore.to_owned(),
            group: group.to_vec(),
        })
    }

    fn append(&mut self, record: &Record) -> io::Result<()> {
        let record = record.encode_to_vec();
        if record.len() > RECORD_BYTES_MAX {
            // It could not be read again.
            return Err(io::Error::other("a record is too long"));
        }
        let length = u32::try_from(record.len()).map_err(io::Error::other)?;
        let mut bytes = Vec::with_capacity(HEAD + record.len());
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&digest(&record));
        bytes.extend_from_slice(&record);
        // From the last whole record: a failed write leaves nothing behind.
        self.file.seek(SeekFrom::Start(self.len))?;
        self.file.write_all(&bytes)?;
        self.len += bytes.len() as u64;
        Ok(())
    }
}

/// The next record; `None` at the end, which may be torn. `left` bytes remain.
fn read_record(reader: &mut impl io::Read, left: u64) -> io::Result<Option<Vec<u8>>> {
    if left < HEAD as u64 {
        return Ok(None);
    }
    let mut head = [0; HEAD];
    reader.read_exact(&mut head)?;
    let (length, expected) = head.split_at(4);
    let length = u32::from_le_bytes([length[0], length[1], length[2], length[3]]);
    let rest = left - HEAD as u64;
    if u64::from(length) > rest {
        return Ok(None);
    }
    if length as usize > RECORD_BYTES_MAX {
        return Err(damaged("a record is too long"));
    }
    let mut record = vec![0; length as usize];
    reader.read_exact(&mut record)?;
    if digest(&record) == *expected {
        return Ok(Some(record));
    }
    if u64::from(length) == rest {
        return Ok(None);
    }
    Err(damaged("a record is not what was written"))
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{FILE}: {what}"))
}

fn restore(record: &[u8], state: &mut State) -> Result<(), Box<dyn std::error::Error>> {
    let record = Record::decode(record)?;
    if record.change.is_empty() {
        let group = LogGroup::decode(record.group.as_slice())?;
        state.put(&record.project, &record.logstore, group);
    } else {
        state.apply(serde_json::from_str(&record.change)?);
    }
    Ok(())
}
