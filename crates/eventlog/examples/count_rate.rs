//! Prints what one grab costs the thread that counts it and records it, in ns, on two threads.

use std::{
    hint::black_box,
    io,
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use eventlog::{AccessLog, AccessLogOptions, Counters, Grab};
use rules::{CampaignId, Clock, Missed, Outcome, Timestamp, UserId};

const GRABS: u64 = 20_000_000;
const SOLD_OUT: Outcome = Outcome::Missed(Missed::SoldOut);

struct Epoch;

impl Clock for Epoch {
    fn now(&self) -> Timestamp {
        Timestamp::default()
    }
}

/// Runs `act` on two threads at once and prints what it cost each.
fn measure(what: &str, act: impl Fn(u64) + Sync) {
    let run = || {
        let started = Instant::now();
        (0..GRABS).for_each(&act);
        started.elapsed()
    };
    let took: [Duration; 2] = thread::scope(|scope| {
        [scope.spawn(run), scope.spawn(run)].map(|t| t.join().expect("nothing panics"))
    });
    let ns = took.map(|t| t.as_secs_f64() * 1e9 / GRABS as f64);
    println!("{what}: {:.1} and {:.1} ns a grab", ns[0], ns[1]);
}

fn main() -> io::Result<()> {
    let counters = Counters::new();
    measure("counted", |n| {
        counters.count(black_box(SOLD_OUT), black_box(n % 64));
    });
    let taken: u64 = counters.take().outcomes.iter().sum();
    println!("  {taken} of {} taken", 2 * GRABS);

    let options = AccessLogOptions {
        path: PathBuf::from("/dev/null"),
        ..AccessLogOptions::default()
    };
    let log = AccessLog::open(options, 1, Arc::new(Epoch))?;
    let campaign = CampaignId::new(Timestamp::default(), [7; 10]);
    let user = UserId::trusted("somebody");
    measure("missed and logged above the rate", |n| {
        log.record(&Grab {
            at: Timestamp::default(),
            campaign,
            user: &user,
            outcome: black_box(SOLD_OUT),
            packet: None,
            amount: None,
            grab_id: None,
            ip: None,
            latency_micros: n % 64,
        });
    });
    println!("  {:?}", log.close());
    Ok(())
}
