//! Prints what one grab costs the thread that counts it and records it, in ns, on two threads:
//! without and with lines shipped to a log service in the same process.

use std::{
    hint::black_box,
    io,
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use aliyun::{
    server::serve,
    sign::Credentials,
    sls::server::{SlsServer, SlsServerOptions},
};
use eventlog::{
    AccessLog, AccessLogOptions, Counters, Grab,
    sls::{Intake, Shipper, ShipperOptions},
};
use rules::{CampaignId, Clock, Missed, Outcome, Timestamp, UserId};
use tokio_util::sync::CancellationToken;

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

    record(None)?;
    let folder = std::env::temp_dir().join(format!("count_rate-{}", std::process::id()));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let who = Credentials::new("id", "secret");
    let server = SlsServer::open(SlsServerOptions::new(who.clone()), Arc::new(Epoch))?;
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
    let endpoint = format!("http://{}", listener.local_addr()?);
    runtime.spawn(serve(listener, Arc::new(server), CancellationToken::new()));
    let options = ShipperOptions::new(endpoint, "rain", "grabs", who, &folder);
    let (shipper, intake) = Shipper::start(options, Arc::new(Epoch)).map_err(io::Error::other)?;
    record(Some(intake))?;
    println!("  {:?}", shipper.close(Duration::from_secs(10)));
    std::fs::remove_dir_all(folder)
}

/// Records misses faster than they can be written.
fn record(intake: Option<Intake>) -> io::Result<()> {
    let what = match &intake {
        None => "missed and logged above the rate",
        Some(_) => "missed, logged and shipped above the rate",
    };
    let options = AccessLogOptions {
        path: PathBuf::from("/dev/null"),
        ..AccessLogOptions::default()
    };
    let log = AccessLog::open_shipped(options, 1, Arc::new(Epoch), intake)?;
    let campaign = CampaignId::new(Timestamp::default(), [7; 10]);
    let user = UserId::trusted("somebody");
    measure(what, |n| {
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
