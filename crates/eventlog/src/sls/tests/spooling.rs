//! The folder alone: what is in it, whatever happens to it.

use std::{fs, os::unix::fs::PermissionsExt as _, time::Instant};

use super::{
    super::spool::{BATCH_AGE_MAX, BATCH_BYTES_MAX, BATCH_LINES_MAX, Spool, bytes_left},
    *,
};

const MAX: u64 = 1 << 30;

fn open(folder: &Path) -> Spool {
    Spool::open(folder, MAX).expect("a folder of its own")
}

fn lines(from: usize, to: usize) -> Vec<u8> {
    (from..to)
        .flat_map(|n| format!("{n}\n").into_bytes())
        .collect()
}

/// All closed batches, oldest first.
fn drain(spool: &mut Spool) -> Vec<Vec<u8>> {
    let mut batches = Vec::new();
    while let Some(lines) = spool.first() {
        batches.push(lines);
        spool.remove_first();
    }
    batches
}

#[test]
fn batches_are_closed_by_age_lines_and_bytes() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut spool = open(folder.path());
    let start = Instant::now();
    spool.add(&lines(0, 3), start);
    spool.close_batch(start, false);
    assert_eq!(spool.first(), None);
    spool.add(&lines(3, 5), start + BATCH_AGE_MAX);
    spool.close_batch(start + BATCH_AGE_MAX, false);
    assert_eq!(spool.first(), Some(lines(0, 5)));
    spool.remove_first();

    spool.add(&lines(0, BATCH_LINES_MAX + 1), start);
    spool.close_batch(start, true);
    let batches = drain(&mut spool);
    let counts = batches
        .iter()
        .map(|b| b.iter().filter(|&&b| b == b'\n').count());
    assert!(counts.eq([BATCH_LINES_MAX, 1]));

    let line = [vec![b'x'; BATCH_BYTES_MAX / 3], vec![b'\n']].concat();
    spool.add(&line.repeat(5), start);
    spool.close_batch(start, true);
    assert_eq!(drain(&mut spool).concat(), line.repeat(5));
    assert_eq!(spool.bytes(), 0);
    let left = fs::read_dir(folder.path()).expect("the folder").count();
    assert_eq!(left, 1, "only the lock is left");
}

#[test]
fn a_killed_process_leaves_its_lines_in_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let now = Instant::now();
    let mut spool = open(folder.path());
    spool.add(&lines(0, BATCH_LINES_MAX * 2 + 10), now);
    // Neither closed nor kept: as if it had been killed.
    drop(spool);
    let left = bytes_left(folder.path()).expect("it can be read");
    assert_eq!(left, lines(0, BATCH_LINES_MAX * 2 + 10).len() as u64);
    let nowhere = bytes_left(&folder.path().join("nowhere"));
    assert_eq!(nowhere.expect("no folder is no error"), 0);
    let mut spool = open(folder.path());
    spool.add(&lines(0, 1), now);
    spool.close_batch(now, true);
    let all = drain(&mut spool).concat();
    assert_eq!(
        all,
        [lines(0, BATCH_LINES_MAX * 2 + 10), lines(0, 1)].concat()
    );
}

#[test]
fn one_process_at_a_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("spool");
    assert!(!is_in_use(&path).expect("it is not there"));
    let spool = open(&path);
    assert!(Spool::open(&path, MAX).is_err());
    assert!(is_in_use(&path).expect("there is a lock"));
    let shipper = Shipper::start(
        options("http://127.0.0.1:1", folder.path()),
        Arc::new(TestClock),
    );
    let refused = shipper.expect_err("a refusal");
    assert!(
        matches!(&refused, StartError::InUse(taken) if *taken == path),
        "{refused}"
    );
    drop(spool);
    assert!(!is_in_use(&path).expect("nobody has it"));
    drop(open(&path));
    let mode = fs::metadata(&path)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn a_disk_that_fails_is_borne_in_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("spool");
    let now = Instant::now();
    let mut spool = open(&path);
    fs::rename(&path, folder.path().join("away")).expect("there is no file in its place");
    spool.add(&lines(0, 10), now);
    spool.close_batch(now, true);
    spool.add(&lines(10, 20), now);
    spool.close_batch(now, true);
    assert_eq!(spool.first(), Some(lines(0, 10)));
    spool.remove_first();
    // Back again before the process ends.
    fs::rename(folder.path().join("away"), &path).expect("it is there");
    assert!(spool.keep().is_empty());
    drop(spool);
    assert_eq!(drain(&mut open(&path)), [lines(10, 20)]);

    // And not back again: the lines are said to be lost.
    let mut spool = open(&path);
    fs::rename(&path, folder.path().join("away")).expect("there is no file in its place");
    let line = [vec![b'x'; 1 << 20], vec![b'\n']].concat();
    let mut taken = 0;
    while spool.has_room() {
        spool.add(&line, now);
        spool.close_batch(now, true);
        taken += 1;
    }
    assert!(taken < 10, "{taken} MiB are held");
    assert_eq!(spool.keep().concat(), line.repeat(taken));
}

#[test]
fn a_full_folder_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let now = Instant::now();
    let mut spool = Spool::open(folder.path(), 20).expect("a folder of its own");
    assert!(spool.has_room());
    spool.add(&lines(0, 10), now);
    assert!(!spool.has_room());
    spool.close_batch(now, true);
    spool.remove_first();
    assert!(spool.has_room());
}

#[test]
fn what_gathers_behind_a_waiting_batch_makes_few_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut spool = open(folder.path());
    let mut now = Instant::now();
    let seconds = 3 * BATCH_LINES_MAX;
    for second in 0..seconds {
        spool.add(&lines(second, second + 1), now);
        now += BATCH_AGE_MAX;
        spool.close_batch(now, false);
    }
    // The first second's, full ones, the one being gathered, and the lock.
    let files = fs::read_dir(folder.path()).expect("the folder").count();
    assert_eq!(files, 5);
    spool.close_batch(now, true);
    assert_eq!(drain(&mut spool).concat(), lines(0, seconds));
}

#[test]
fn a_batch_that_cannot_be_read_holds_up_no_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let now = Instant::now();
    let stubborn = folder.path().join(format!("{:016}.lines", 1));
    fs::create_dir(&stubborn).expect("a folder where a file should be");
    let mut spool = open(folder.path());
    spool.add(&lines(0, 10), now);
    spool.close_batch(now, true);
    assert_eq!(spool.first(), None);
    assert_eq!(spool.first(), Some(lines(0, 10)));
    spool.remove_first();
    assert_eq!(spool.first(), None);
    assert!(spool.is_empty(), "nobody waits for it to be delivered");
    // A batch's age closes it as if the other were not there.
    spool.add(&lines(10, 20), now);
    spool.close_batch(now + BATCH_AGE_MAX, false);
    assert_eq!(spool.first(), Some(lines(10, 20)));
    spool.remove_first();

    fs::remove_dir(&stubborn).expect("it is empty");
    fs::write(&stubborn, lines(20, 30)).expect("there is room");
    assert_eq!(drain(&mut spool), [lines(20, 30)]);
}

#[test]
fn what_is_counted_while_the_disk_fails_is_bounded_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("spool");
    let now = Instant::now();
    let mut spool = open(&path);
    fs::rename(&path, folder.path().join("away")).expect("there is no file in its place");
    let line = [vec![b'x'; 1 << 18], vec![b'\n']].concat();
    while spool.has_room() {
        spool.add(&line, now);
        spool.close_batch(now, true);
    }
    let held = spool.bytes();
    assert!(spool.has_reserve());
    while spool.has_reserve() {
        spool.add(&line, now);
        spool.close_batch(now, true);
    }
    assert!(spool.bytes() < held * 2, "{} bytes are held", spool.bytes());
}
