//! The access log as a whole: nothing is lost but what is said to be, whatever happens to it.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    path::Path,
    sync::atomic::AtomicI64,
};

use rules::{Missed, Rejected};
use serde_json::Value;

use super::*;

struct SetClock(AtomicI64);

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Relaxed))
    }
}

fn clock(at: Timestamp) -> Arc<dyn Clock> {
    Arc::new(SetClock(AtomicI64::new(at.micros())))
}

fn options(folder: &Path) -> AccessLogOptions {
    AccessLogOptions {
        path: folder.join("access.log"),
        ..AccessLogOptions::default()
    }
}

fn open(options: AccessLogOptions) -> AccessLog {
    AccessLog::open(options, 7, clock(Timestamp::default())).expect("the folder is there")
}

fn record(log: &AccessLog, campaign: u128, user: &str, outcome: Outcome) {
    log.record(&Grab {
        at: Timestamp::default(),
        campaign: CampaignId(uuid::Uuid::from_u128(campaign)),
        user: &UserId::trusted(user),
        outcome,
        packet: None,
        amount: None,
        grab_id: None,
        ip: None,
        latency_micros: 20,
    });
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).expect("the log");
    assert!(text.is_empty() || text.ends_with('\n'), "half a line");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("each line is JSON"))
        .collect()
}

/// Grabs by campaign, outcome and reason, as the lines tell.
fn sums(lines: &[Value]) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for line in lines {
        let key = format!(
            "{} {} {}",
            line["campaign"], line["outcome"], line["reason"]
        );
        *sums.entry(key).or_default() += line["weight"].as_u64().expect("every line has one");
    }
    sums
}

fn assert_sums(lines: &[Value], campaign: u128, outcome: &str, reason: &str, expected: u64) {
    let campaign = uuid::Uuid::from_u128(campaign);
    let key = format!("\"{campaign}\" \"{outcome}\" {reason}");
    assert_eq!(sums(lines).get(&key), Some(&expected), "{key}");
}

/// Waits until `done`, for as long as a slow machine may need.
fn wait_until(what: &str, done: impl Fn() -> bool) {
    for _ in 0..6_000 {
        if done() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("never: {what}");
}

const SOLD_OUT: Outcome = Outcome::Missed(Missed::SoldOut);
const BLOCKED: Outcome = Outcome::Rejected(Rejected::Blocked);

#[test]
fn the_weights_add_up_to_the_grabs_of_all_threads() {
    const THREADS: u64 = 4;
    const GRABS: u64 = 30_000;
    let folder = tempfile::tempdir().expect("a folder");
    let log = open(AccessLogOptions {
        misses_per_second_max: 100,
        // So little that wins and rejections overflow too.
        waiting_lines_max: 64,
        ..options(folder.path())
    });
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for n in 0..GRABS {
                    record(&log, 1, "a", SOLD_OUT);
                    record(&log, 2, "b", Outcome::Missed(Missed::NotStarted));
                    if n % 10 == 0 {
                        record(&log, 1, "c", Outcome::Won);
                        record(&log, 2, "d", BLOCKED);
                    }
                }
            });
        }
    });
    let stats = log.close();
    let lines = lines(&folder.path().join("access.log"));
    assert_eq!(sums(&lines).len(), 4);
    assert_sums(&lines, 1, "missed", "\"sold_out\"", THREADS * GRABS);
    assert_sums(&lines, 2, "missed", "\"not_started\"", THREADS * GRABS);
    assert_sums(&lines, 1, "won", "null", THREADS * GRABS / 10);
    assert_sums(&lines, 2, "rejected", "\"blocked\"", THREADS * GRABS / 10);
    // Each line has a number of its own, in order and without gaps.
    let seqs = lines.iter().map(|line| line["seq"].as_u64());
    assert!(seqs.eq((1..=lines.len() as u64).map(Some)));
    assert!(lines.iter().all(|l| l["node"] == "0000000000000007"));

    let (many, few): (Vec<_>, Vec<_>) = lines.iter().partition(|l| l["aggregated"] == true);
    assert!(
        few.iter()
            .all(|l| l["weight"] == 1 && l["user"].is_string())
    );
    assert!(many.iter().all(|l| l["weight"] == l["count"]));
    let aggregated: u64 = many.iter().filter_map(|l| l["count"].as_u64()).sum();
    assert_eq!(
        stats,
        AccessLogStats {
            lines_written: lines.len() as u64,
            grabs_aggregated: aggregated,
            grabs_dropped: 0,
            write_errors: 0,
        }
    );
}

#[test]
fn only_misses_are_aggregated_while_the_writer_keeps_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = open(AccessLogOptions {
        misses_per_second_max: 0,
        ..options(folder.path())
    });
    let others = [
        Outcome::Won,
        Outcome::Repeated,
        Outcome::Unavailable,
        BLOCKED,
    ];
    for _ in 0..500 {
        record(&log, 1, "a", SOLD_OUT);
        for outcome in others {
            record(&log, 1, "a", outcome);
        }
    }
    let stats = log.close();
    let lines = lines(&folder.path().join("access.log"));
    assert_eq!(stats.grabs_aggregated, 500);
    assert_sums(&lines, 1, "missed", "\"sold_out\"", 500);
    let singles = lines.iter().filter(|l| l["aggregated"].is_null());
    assert_eq!(singles.count(), 500 * others.len());
}

#[test]
fn the_allowance_gives_so_many_and_no_more() {
    let allowance = Allowance(AtomicI64::new(3));
    let take = |n: usize| (0..n).filter(|_| allowance.take_one()).count();
    assert_eq!(take(10), 3);
    allowance.refill(2);
    assert_eq!(take(1), 1);
    allowance.refill(5);
    let taken: usize = thread::scope(|scope| {
        let threads = [(); 4].map(|()| scope.spawn(|| take(1_000)));
        threads.map(|t| t.join().expect("no panic")).iter().sum()
    });
    assert_eq!(taken, 5);
    allowance.refill(0);
    assert_eq!(take(1), 0);
}

#[test]
fn aggregates_come_without_closing() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = open(AccessLogOptions {
        misses_per_second_max: 0,
        ..options(folder.path())
    });
    for round in 1..=2 {
        (0..1_000).for_each(|_| record(&log, 1, "a", SOLD_OUT));
        wait_until("the aggregate is written", || {
            let stats = log.stats();
            stats.grabs_aggregated == 1_000 * round && stats.lines_written >= round
        });
    }
    log.close();
    let lines = lines(&folder.path().join("access.log"));
    assert_sums(&lines, 1, "missed", "\"sold_out\"", 2_000);
}

#[test]
fn a_flush_leaves_nothing_that_was_recorded_before_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = open(AccessLogOptions {
        misses_per_second_max: 3,
        ..options(folder.path())
    });
    for round in 1..=4 {
        for _ in 0..50 {
            record(&log, 1, "ann", Outcome::Missed(Missed::SoldOut));
        }
        record(&log, 1, "bob", Outcome::Won);
        assert!(log.flush(Duration::from_secs(60)), "the disk is well");
        let lines = lines(&folder.path().join("access.log"));
        assert_sums(&lines, 1, "missed", "\"sold_out\"", round * 50);
        assert_sums(&lines, 1, "won", "null", round);
    }
    assert!(log.flush(Duration::from_secs(60)), "with nothing to write");
}

#[test]
fn files_keep_within_their_size_and_number() {
    let folder = tempfile::tempdir().expect("a folder");
    let limits = AccessLogOptions {
        max_file_bytes: FILE_BYTES_MIN,
        max_files: 3,
        ..options(folder.path())
    };
    fs::write(folder.path().join("access.log.old"), "not ours").expect("there is room");
    // A second opening goes on where the first ended.
    for _ in 0..2 {
        let log = open(limits.clone());
        (0..300).for_each(|_| record(&log, 1, "a", Outcome::Won));
        assert_eq!(log.close().lines_written, 300);
    }
    let mut names = Vec::new();
    let mut seqs = Vec::new();
    for entry in fs::read_dir(folder.path()).expect("the folder") {
        let path = entry.expect("an entry").path();
        if path.extension() != Some("old".as_ref()) {
            let len = fs::metadata(&path).expect("a file").len();
            assert!((1..=FILE_BYTES_MIN).contains(&len), "{path:?}: {len} bytes");
            names.push(path);
        }
    }
    names.sort();
    assert_eq!(names.len(), 3, "{names:?}");
    // The file being written sorts first and is the newest.
    names.rotate_left(1);
    for path in &names {
        seqs.extend(lines(path).iter().filter_map(|l| l["seq"].as_u64()));
    }
    assert_eq!(seqs.last(), Some(&300));
    assert!(seqs.is_sorted() && seqs.len() > 10, "{seqs:?}");
    assert!(folder.path().join("access.log.old").exists());
}

#[test]
fn lines_are_deleted_when_they_are_too_old() {
    const DAY: i64 = 86_400;
    let folder = tempfile::tempdir().expect("a folder");
    let limits = AccessLogOptions {
        max_age: Duration::from_secs(8 * DAY.unsigned_abs()),
        ..options(folder.path())
    };
    let path = folder.path().join("access.log");
    let reopen = |after_days: i64| {
        // Real files bear real times, so the clock starts at theirs.
        let there = fs::metadata(folder.path()).expect("the folder");
        let at = Timestamp::from_micros(there.ctime() * 1_000_000).plus_seconds(after_days * DAY);
        AccessLog::open(limits.clone(), 7, clock(at)).expect("the folder is there")
    };
    let log = reopen(0);
    record(&log, 1, "a", Outcome::Won);
    log.close();
    reopen(1).close();
    assert_eq!(lines(&path).len(), 1);

    let rotated = folder.path().join("access.log.000001");
    reopen(3).close();
    assert_eq!(lines(&rotated).len(), 1);
    reopen(5).close();
    assert!(rotated.exists());
    reopen(8).close();
    assert!(!rotated.exists());
}

#[test]
fn closing_and_dropping_write_all_that_waits() {
    let folder = tempfile::tempdir().expect("a folder");
    for round in 1..=4 {
        let log = open(options(folder.path()));
        (0..1_000).for_each(|_| record(&log, 1, "a", BLOCKED));
        if round % 2 == 0 {
            log.close();
        } else {
            drop(log);
        }
        let lines = lines(&folder.path().join("access.log"));
        assert_sums(&lines, 1, "rejected", "\"blocked\"", 1_000 * round);
    }
}

#[test]
fn a_new_file_is_for_owner_and_group_only() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("new/folder/access.log");
    open(AccessLogOptions {
        path: path.clone(),
        ..AccessLogOptions::default()
    });
    let mode = fs::metadata(path).expect("the log").permissions().mode();
    assert_eq!(mode & 0o777 & !0o640, 0, "{mode:o}");
}

#[test]
fn a_path_that_cannot_be_written_is_refused_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("file"), "").expect("there is room");
    let unusable = [
        folder.path().to_owned(),
        folder.path().join("file/access.log"),
        "/proc/access.log".into(),
    ];
    for path in unusable {
        let options = AccessLogOptions {
            path: path.clone(),
            ..AccessLogOptions::default()
        };
        let opened = AccessLog::open(options, 7, clock(Timestamp::default()));
        assert!(opened.is_err(), "{path:?}");
    }
}

#[test]
fn a_removed_file_or_folder_is_made_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let inner = folder.path().join("inner");
    let log = open(options(&inner));
    for round in 1..=3 {
        record(&log, round, "a", Outcome::Won);
        wait_until("the line is written", || {
            u128::from(log.stats().lines_written) == round
        });
        let lines = lines(&inner.join("access.log"));
        assert_sums(&lines, round, "won", "null", 1);
        if round == 1 {
            fs::remove_file(inner.join("access.log")).expect("the log is there");
        } else {
            fs::remove_dir_all(&inner).expect("the folder is there");
        }
    }
    assert_eq!(log.close().write_errors, 0);
}

#[test]
fn a_full_disk_costs_nothing_when_it_recovers() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("access.log");
    symlink("/dev/full", &path).expect("there is room");
    let log = open(options(folder.path()));
    // More than is kept as lines, so that the rest is counted instead.
    for n in 0..20_000_u64 {
        record(&log, 1, "a", Outcome::Won);
        record(&log, 1, "a", SOLD_OUT);
        if n % 100 == 0 {
            thread::sleep(Duration::from_millis(1));
        }
    }
    wait_until("a write fails", || log.stats().write_errors > 0);
    assert_eq!(log.stats().lines_written, 0);
    fs::remove_file(&path).expect("the link is there");
    wait_until("lines are written again", || log.stats().lines_written > 0);
    let stats = log.close();
    assert_eq!(stats.grabs_dropped, 0);
    let lines = lines(&path);
    assert_eq!(stats.lines_written, lines.len() as u64);
    assert_sums(&lines, 1, "won", "null", 20_000);
    assert_sums(&lines, 1, "missed", "\"sold_out\"", 20_000);
}

#[test]
fn a_disk_that_is_full_until_the_end_loses_what_is_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    symlink("/dev/full", folder.path().join("access.log")).expect("there is room");
    let log = open(options(folder.path()));
    for _ in 0..10_000 {
        record(&log, 1, "a", Outcome::Won);
        record(&log, 2, "a", SOLD_OUT);
    }
    let stats = log.close();
    assert_eq!((stats.lines_written, stats.grabs_dropped), (0, 20_000));
    assert!(stats.write_errors > 0);
}

#[test]
fn a_folder_that_turns_into_a_file_is_survived() {
    let folder = tempfile::tempdir().expect("a folder");
    let inner = folder.path().join("inner");
    let log = open(options(&inner));
    fs::remove_dir_all(&inner).expect("the folder is there");
    fs::write(&inner, "").expect("there is room");
    record(&log, 1, "a", Outcome::Won);
    wait_until("a write fails", || log.stats().write_errors > 0);
    fs::remove_file(&inner).expect("the file is there");
    let stats = log.close();
    assert_eq!((stats.lines_written, stats.grabs_dropped), (1, 0));
    assert_eq!(lines(&inner.join("access.log")).len(), 1);
}

#[test]
fn hostile_user_ids_make_no_lines_of_their_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = open(options(folder.path()));
    let hostile = [
        "a\n{\"outcome\":\"won\"}",
        "a\r\nb",
        "\",\"outcome\":\"won",
        "\0\u{1}\u{1b}[31m\u{7f}",
        "\u{85}\u{2028}\u{2029}",
        "\\",
    ];
    for user in hostile {
        record(&log, 1, user, BLOCKED);
    }
    log.close();
    let lines = lines(&folder.path().join("access.log"));
    let users: Vec<_> = lines.iter().filter_map(|l| l["user"].as_str()).collect();
    assert_eq!(users, hostile);
    assert!(lines.iter().all(|l| l["outcome"] == "rejected"));
}
