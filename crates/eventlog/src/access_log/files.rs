//! The files of the access log: appended to, rotated by size and age, deleted by number and age.
//!
//! Whatever happens to them from outside is survived: a removed or renamed file is made anew, a
//! shortened one is appended to, a full disk is reported and tried again later. A file never
//! grows beyond its limit, and never holds half a line where that can be helped.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use rules::Timestamp;

use super::{AccessLogOptions, FILE_BYTES_MIN};

/// The owner may write, the group may read, others may do neither.
const FILE_MODE: u32 = 0o640;

/// The file being written, and how it is kept within its limits.
#[derive(Debug)]
pub(super) struct LogFiles {
    path: PathBuf,
    max_file_bytes: u64,
    max_files: usize,
    max_age: Duration,
    /// `None` after a rotation, until the next line.
    current: Option<Current>,
}

/// An open file.
#[derive(Debug)]
struct Current {
    file: File,
    /// False for what is no file, such as a terminal: it is neither rotated nor shortened.
    regular: bool,
    /// Device and inode: whether the path still leads here.
    identity: (u64, u64),
    /// Its length, as far as it is known to end with a whole line.
    len: u64,
    /// It may end in half a line, which the next one must not be joined to.
    torn: bool,
    /// When it was begun.
    begun: Timestamp,
}

impl LogFiles {
    /// Opens or makes the file, and deletes what is too old or too many beside it.
    pub(super) fn open(options: &AccessLogOptions, now: Timestamp) -> io::Result<Self> {
        let mut files = Self {
            path: options.path.clone(),
            max_file_bytes: options.max_file_bytes.max(FILE_BYTES_MIN),
            max_files: options.max_files.max(1),
            max_age: options.max_age,
            current: None,
        };
        files.current(now)?;
        files.tend(now)?;
        Ok(files)
    }

    /// Appends `lines`, each ended by a newline. Says how many bytes of whole lines were
    /// written, also when it failed.
    pub(super) fn append(&mut self, lines: &[u8], now: Timestamp) -> (usize, io::Result<()>) {
        let mut written = 0;
        while written < lines.len() {
            match self.append_some(&lines[written..], now) {
                Ok(bytes) => written += bytes,
                Err(error) => return (written, Err(error)),
            }
        }
        (written, Ok(()))
    }

    /// Appends as many lines as the file has room for, or rotates when there is room for none.
    fn append_some(&mut self, lines: &[u8], now: Timestamp) -> io::Result<usize> {
        let max_file_bytes = self.max_file_bytes;
        let current = self.current(now)?;
        let bytes = if current.regular {
            let room = max_file_bytes.saturating_sub(current.len + u64::from(current.torn));
            whole_lines(lines, usize::try_from(room).unwrap_or(usize::MAX))
        } else {
            lines.len()
        };
        if bytes > 0 {
            current.write(&lines[..bytes])?;
            return Ok(bytes);
        }
        if current.len > 0 || current.torn {
            self.rotate()?;
            self.tend(now)?;
            return Ok(0);
        }
        // A single line above the limit; none of ours is, but it must not be tried for ever.
        let first = lines.iter().position(|&b| b == b'\n');
        let first = first.map_or(lines.len(), |end| end + 1);
        current.write(&lines[..first])?;
        Ok(first)
    }

    /// The open file that the path leads to; made anew when it was taken away.
    fn current(&mut self, now: Timestamp) -> io::Result<&mut Current> {
        let there = fs::metadata(&self.path).ok();
        let kept = self.current.take().filter(|current| {
            there
                .as_ref()
                .is_some_and(|there| (there.dev(), there.ino()) == current.identity)
        });
        let current = match (kept, there) {
            (Some(mut current), Some(there)) => {
                // Somebody may have emptied it or written to it.
                if current.regular && there.len() != current.len {
                    current.len = there.len();
                    current.torn = there.len() > 0 && !ends_a_line(&self.path, there.len());
                }
                current
            }
            _ => Current::open(&self.path, now)?,
        };
        Ok(self.current.insert(current))
    }

    /// Rotates a file begun too long ago; deletes rotated files that are too old or too many.
    pub(super) fn tend(&mut self, now: Timestamp) -> io::Result<()> {
        // A file is written for at most a quarter of the age and kept for three quarters after
        // its last line: no line is kept for longer, and none for less than three quarters.
        let written_for = self.max_age / 4;
        let old = self
            .current
            .as_ref()
            .is_some_and(|c| c.regular && c.len > 0 && age(now, c.begun) >= written_for);
        if old {
            self.current(now)?;
            self.rotate()?;
        }
        let mut rotated = self.rotated()?;
        let too_many = rotated.len().saturating_sub(self.max_files - 1);
        for (_, path) in rotated.drain(..too_many) {
            remove(&path)?;
        }
        for (_, path) in rotated {
            let modified = match fs::metadata(&path).and_then(|there| there.modified()) {
                Ok(modified) => timestamp(modified),
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if age(now, modified) >= self.max_age - written_for {
                remove(&path)?;
            }
        }
        Ok(())
    }

    /// Moves the file away under the next number.
    fn rotate(&mut self) -> io::Result<()> {
        let last = self.rotated()?.last().map_or(0, |(number, _)| *number);
        let mut name = OsString::from(&self.path);
        name.push(format!(".{:06}", last.saturating_add(1)));
        fs::rename(&self.path, PathBuf::from(name))?;
        self.current = None;
        Ok(())
    }

    /// The rotated files, oldest first.
    fn rotated(&self) -> io::Result<Vec<(u64, PathBuf)>> {
        let mut rotated = Vec::new();
        let own_name = self.path.file_name().unwrap_or_default();
        for entry in fs::read_dir(folder(&self.path))? {
            let entry = entry?;
            let name = entry.file_name();
            let number = name
                .as_encoded_bytes()
                .strip_prefix(own_name.as_encoded_bytes())
                .and_then(|rest| rest.strip_prefix(b"."))
                .filter(|digits| digits.iter().all(u8::is_ascii_digit))
                .and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
            if let Some(number) = number {
                rotated.push((number, entry.path()));
            }
        }
        rotated.sort();
        Ok(rotated)
    }
}

impl Current {
    fn open(path: &Path, now: Timestamp) -> io::Result<Self> {
        let open = || {
            OpenOptions::new()
                .append(true)
                .create(true)
                .mode(FILE_MODE)
                .open(path)
        };
        let file = open().or_else(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                return Err(error);
            }
            fs::create_dir_all(folder(path))?;
            open()
        })?;
        let there = file.metadata()?;
        let regular = there.is_file();
        // Where the file system keeps no time of birth, the last change must do.
        let begun = there.created().or_else(|_| there.modified());
        let begun = begun.map_or(now, timestamp);
        Ok(Self {
            file,
            regular,
            identity: (there.dev(), there.ino()),
            len: there.len(),
            torn: regular && there.len() > 0 && !ends_a_line(path, there.len()),
            begun,
        })
    }

    /// Writes whole lines; when that fails, takes back what was written of them.
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.torn {
            self.file.write_all(b"\n")?;
            self.len += 1;
            self.torn = false;
        }
        if let Err(error) = self.file.write_all(lines) {
            self.torn = !self.take_back();
            return Err(error);
        }
        self.len += lines.len() as u64;
        Ok(())
    }

    /// Shortens the file to its last whole line; false when that is not possible.
    fn take_back(&mut self) -> bool {
        if !self.regular {
            return false;
        }
        match self.file.metadata() {
            // Never longer: if somebody emptied it, zeros would fill the gap.
            Ok(there) if there.len() > self.len => self.file.set_len(self.len).is_ok(),
            Ok(_) => true,
            Err(_) => false,
        }
    }
}

/// The length of the longest run of whole lines at the start of `lines` within `room` bytes.
fn whole_lines(lines: &[u8], room: usize) -> usize {
    if lines.len() <= room {
        return lines.len();
    }
    let last_end = lines[..room].iter().rposition(|&b| b == b'\n');
    last_end.map_or(0, |end| end + 1)
}

/// Whether the last of the file's `len` bytes is a newline; a file that cannot be read is taken
/// to be whole.
fn ends_a_line(path: &Path, len: u64) -> bool {
    let mut last = [0];
    let read = File::open(path).and_then(|file| file.read_exact_at(&mut last, len - 1));
    read.is_err() || last == *b"\n"
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// Deletes a file; one that is gone already is fine.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn timestamp(time: std::time::SystemTime) -> Timestamp {
    let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
}

/// How long before `now` `then` was; nothing when it is later.
fn age(now: Timestamp, then: Timestamp) -> Duration {
    Duration::from_micros(u64::try_from(now.since(then)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(0);

    fn open(folder: &Path) -> LogFiles {
        let options = AccessLogOptions {
            path: folder.join("log"),
            ..AccessLogOptions::default()
        };
        LogFiles::open(&options, NOW).expect("the folder is there")
    }

    #[test]
    fn what_was_written_of_a_failed_write_is_taken_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut files = open(folder.path());
        assert_eq!(files.append(b"one\n", NOW).0, 4);
        let current = files.current.as_mut().expect("just written to");
        current.file.write_all(b"half a li").expect("there is room");
        assert!(current.take_back());
        assert_eq!(files.append(b"two\n", NOW).0, 4);
        let text = fs::read_to_string(folder.path().join("log")).expect("the log");
        assert_eq!(text, "one\ntwo\n");
    }

    #[test]
    fn half_a_line_is_not_joined_to_the_next() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("log"), "half a li").expect("there is room");
        let mut files = open(folder.path());
        assert_eq!(files.append(b"one\n", NOW).0, 4);
        // Somebody else's half a line.
        let current = files.current.as_mut().expect("just written to");
        current.file.write_all(b"half").expect("there is room");
        assert_eq!(files.append(b"two\n", NOW).0, 4);
        let text = fs::read_to_string(folder.path().join("log")).expect("the log");
        assert_eq!(text, "half a li\none\nhalf\ntwo\n");
    }

    #[test]
    fn an_emptied_file_is_written_from_its_start() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut files = open(folder.path());
        assert_eq!(files.append(b"one\n", NOW).0, 4);
        fs::write(folder.path().join("log"), "").expect("there is room");
        assert_eq!(files.append(b"two\n", NOW).0, 4);
        let text = fs::read_to_string(folder.path().join("log")).expect("the log");
        assert_eq!(text, "two\n");
    }

    #[test]
    fn whole_lines_are_cut_at_their_ends() {
        assert_eq!(whole_lines(b"a\nbc\n", 5), 5);
        assert_eq!(whole_lines(b"a\nbc\n", 4), 2);
        assert_eq!(whole_lines(b"a\nbc\n", 1), 0);
        assert_eq!(whole_lines(b"a\nbc\n", 0), 0);
    }
}
