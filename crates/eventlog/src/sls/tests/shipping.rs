//! Whatever the service does for a while, its counts agree in the end.

use super::*;

#[test]
fn everything_missing_is_made_and_the_counts_agree() {
    let folder = tempfile::tempdir().expect("a folder");
    let service = Service::new();
    let listening = Listening::start(&service, None);
    let node = Node::start(
        options(&listening.endpoint, folder.path()),
        folder.path(),
        7,
    );
    node.record(campaign(1), 5_000);
    node.record(campaign(2), 300);
    node.one(campaign(2), Outcome::Rejected(rules::Rejected::Blocked));
    let stats = node.close(LONG);
    assert_eq!(listening.counts(campaign(1)), expected(5_000, 50));
    let mut second = expected(300, 3);
    second.insert(1, ("rejected blocked".to_owned(), 1));
    assert_eq!(listening.counts(campaign(2)), second);
    assert_eq!(stats.grabs_shipped, 5_050 + 304);
    assert_eq!(
        (stats.grabs_lost, stats.failures, stats.bytes_waiting),
        (0, 0, 0)
    );
    assert_eq!(stats.lines_shipped, listening.lines());
    // Most misses came above the rate.
    assert!(stats.lines_shipped < 1_000, "{stats:?}");
    listening.stop();
}

#[test]
fn repeated_deliveries_are_told_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    let service = Service::new();
    let listening = Listening::start(&service, None);
    let node = Node::start(
        options(&listening.endpoint, folder.path()),
        folder.path(),
        7,
    );
    service.is(Mood::LosesAnswers);
    node.record(campaign(1), 1_000);
    wait_until("delivered thrice", || service.puts.load(Relaxed) >= 3);
    service.is(Mood::Well);
    let stats = node.close(LONG);
    assert!(stats.failures >= 2, "{stats:?}");
    assert!(listening.lines() > stats.lines_shipped, "{stats:?}");
    assert_eq!(listening.counts(campaign(1)), expected(1_000, 10));
    assert_eq!(stats.grabs_shipped, 1_010);
    listening.stop();
}

#[test]
fn throttled_and_broken_for_a_while() {
    let folder = tempfile::tempdir().expect("a folder");
    let service = Service::new();
    let listening = Listening::start(&service, None);
    let node = Node::start(
        options(&listening.endpoint, folder.path()),
        folder.path(),
        7,
    );
    let moods = [
        Mood::Refuses(403, "WriteQuotaExceed"),
        Mood::Refuses(500, "InternalServerError"),
        Mood::Refuses(503, "ServerBusy"),
        Mood::Refuses(401, "SignatureNotMatch"),
    ];
    for (before, mood) in moods.into_iter().enumerate() {
        service.is(mood);
        node.record(campaign(1), 500);
        let failures = (before as u64 + 1) * 2;
        wait_until("failed", || node.shipper.stats().failures >= failures);
    }
    assert_eq!(node.shipper.stats().lines_shipped, 0);
    service.is(Mood::Well);
    let stats = node.close(LONG);
    assert_eq!(listening.counts(campaign(1)), expected(2_000, 20));
    assert_eq!((stats.grabs_shipped, stats.grabs_lost), (2_020, 0));
    listening.stop();
}

#[test]
fn a_store_that_is_deleted_is_made_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let service = Service::new();
    let listening = Listening::start(&service, None);
    let node = Node::start(
        options(&listening.endpoint, folder.path()),
        folder.path(),
        7,
    );
    node.record(campaign(1), 10);
    wait_until("shipped", || node.shipper.stats().grabs_shipped == 11);
    service.is(Mood::Refuses(404, "LogStoreNotExist"));
    node.record(campaign(2), 10);
    wait_until("missed", || node.shipper.stats().failures > 0);
    service.is(Mood::Well);
    assert_eq!(node.close(LONG).grabs_shipped, 22);
    assert_eq!(listening.counts(campaign(2)), expected(10, 1));
    listening.stop();
}

#[test]
fn a_batch_that_is_refused_for_good_holds_up_no_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let service = Service::new();
    let listening = Listening::start(&service, None);
    let node = Node::start(
        options(&listening.endpoint, folder.path()),
        folder.path(),
        7,
    );
    service.is(Mood::Refuses(400, "PostBodyInvalid"));
    node.record(campaign(1), 10);
    wait_until("given up", || node.shipper.stats().grabs_lost == 11);
    service.is(Mood::Well);
    node.record(campaign(2), 10);
    let stats = node.close(LONG);
    assert_eq!((stats.grabs_shipped, stats.grabs_lost), (11, 11));
    assert_eq!(listening.counts(campaign(2)), expected(10, 1));
    listening.stop();
}

#[test]
fn a_batch_that_is_refused_for_an_unknown_reason_holds_up_no_other_and_is_not_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let service = Service::new();
    let listening = Listening::start(&service, None);
    let node = Node::start(
        options(&listening.endpoint, folder.path()),
        folder.path(),
        7,
    );
    service.is(Mood::RefusesOne(400, "SomethingNew"));
    node.record(campaign(1), 10);
    wait_until("refused", || node.shipper.stats().failures > 0);
    node.record(campaign(2), 10);
    wait_until("the other", || node.shipper.stats().grabs_shipped == 11);
    assert_eq!(listening.counts(campaign(2)), expected(10, 1));
    service.is(Mood::Well);
    let stats = node.close(LONG);
    assert_eq!((stats.grabs_shipped, stats.grabs_lost), (22, 0));
    assert_eq!(listening.counts(campaign(1)), expected(10, 1));
    listening.stop();
}

#[test]
fn away_over_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let service = Service::new();
    let listening = Listening::start(&service, None);
    let endpoint = listening.endpoint.clone();
    let start = |epoch| Node::start(options(&endpoint, folder.path()), folder.path(), epoch);
    let node = start(7);
    node.record(campaign(1), 1_000);
    wait_until("shipped", || node.shipper.stats().grabs_shipped > 0);
    listening.stop();

    node.record(campaign(1), 1_000);
    wait_until("nobody there", || node.shipper.stats().failures > 0);
    let stats = node.close(Duration::ZERO);
    assert_eq!(stats.grabs_lost, 0);
    assert!(stats.bytes_waiting > 0, "{stats:?}");
    let first = stats.grabs_shipped;

    // Another process, of another epoch, with numbers that begin again.
    let node = start(8);
    node.record(campaign(1), 1_000);
    wait_until("nobody there", || node.shipper.stats().failures > 0);
    let listening = Listening::start(&service, Some(&endpoint));
    let stats = node.close(LONG);
    assert_eq!(
        (first + stats.grabs_shipped, stats.bytes_waiting),
        (3_030, 0)
    );
    assert_eq!(listening.counts(campaign(1)), expected(3_000, 30));
    listening.stop();
}

#[test]
fn a_full_folder_makes_fewer_lines_and_the_same_sums() {
    let folder = tempfile::tempdir().expect("a folder");
    let service = Service::new();
    let listening = Listening::start(&service, None);
    let little = ShipperOptions {
        folder_bytes_max: 64 << 10,
        ..options(&listening.endpoint, folder.path())
    };
    let node = Node::start(little, folder.path(), 7);
    service.is(Mood::Refuses(500, "InternalServerError"));
    // Wins get a line each: more of them than folder and intake hold.
    let mut wins = 0;
    while node.shipper.stats().grabs_folded < 2_000 {
        for _ in 0..500 {
            node.one(campaign(1), Outcome::Won);
            wins += 1;
        }
        thread::sleep(Duration::from_millis(1));
    }
    let bytes = node.shipper.stats().bytes_waiting;
    assert!(bytes < 3 << 20, "{bytes} bytes are kept");
    service.is(Mood::Well);
    let stats = node.close(LONG);
    assert_eq!(stats.grabs_lost, 0);
    assert_eq!(stats.grabs_shipped, wins);
    assert!(stats.lines_shipped < wins, "{stats:?}");
    assert_eq!(listening.counts(campaign(1)), [("won ".to_owned(), wins)]);
    listening.stop();
}

/// The time of day on a machine whose clock is set wrong.
struct WrongClock {
    ahead_seconds: i64,
}

impl Clock for WrongClock {
    fn now(&self) -> Timestamp {
        TestClock.now().plus_seconds(self.ahead_seconds)
    }
}

#[test]
fn a_clock_that_is_wrong_loses_nothing() {
    // The service refuses requests and logs by the clock that is an hour or ten days off.
    for ahead_seconds in [3_600, -3_600, 10 * 86_400, -10 * 86_400] {
        let folder = tempfile::tempdir().expect("a folder");
        let service = Service::new();
        let listening = Listening::start(&service, None);
        let clock = Arc::new(WrongClock { ahead_seconds });
        let options = options(&listening.endpoint, folder.path());
        let node = Node::start_at(options, folder.path(), 7, clock.clone());
        let one = |outcome| node.one_at(clock.now(), campaign(1), outcome);
        one(Outcome::Won);
        one(Outcome::Missed(Missed::SoldOut));
        let stats = node.close(LONG);
        assert_eq!((stats.grabs_shipped, stats.grabs_lost), (2, 0));
        let counts = listening.counts_since(campaign(1), 2 * 3_600);
        assert_eq!(counts, expected(1, 1), "{ahead_seconds}");
        listening.stop();
    }
}

#[test]
fn a_clock_that_goes_wrong_while_shipping_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let service = Service::new();
    let listening = Listening::start(&service, None);
    let clock = Arc::new(LeapingClock::default());
    let options = options(&listening.endpoint, folder.path());
    let node = Node::start_at(options, folder.path(), 7, clock.clone());
    node.one_at(clock.now(), campaign(1), Outcome::Won);
    wait_until("shipped", || node.shipper.stats().grabs_shipped == 1);
    clock.leap(3_600);
    node.one_at(clock.now(), campaign(1), Outcome::Won);
    wait_until("shipped", || node.shipper.stats().grabs_shipped == 2);
    clock.leap(-3_600);
    node.one_at(clock.now(), campaign(1), Outcome::Won);
    let stats = node.close(LONG);
    assert_eq!((stats.grabs_shipped, stats.grabs_lost), (3, 0));
    assert_eq!(
        listening.counts_since(campaign(1), 2 * 3_600),
        [("won ".to_owned(), 3)]
    );
    listening.stop();
}

/// The time of day, until it leaps.
#[derive(Default)]
struct LeapingClock(std::sync::atomic::AtomicI64);

impl LeapingClock {
    fn leap(&self, seconds: i64) {
        self.0.fetch_add(seconds, Relaxed);
    }
}

impl Clock for LeapingClock {
    fn now(&self) -> Timestamp {
        TestClock.now().plus_seconds(self.0.load(Relaxed))
    }
}
