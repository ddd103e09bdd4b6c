//! The database's time: the clock of this machine, corrected by its measured distance to the
//! database's.
//!
//! Machines whose clocks differ agree on the database's. What is measured is never trusted to
//! order anything: that is done by keys, and by the fence's `last_at`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use rules::{Clock, Timestamp};

use super::{
    dialect::Dialect,
    fault::Fail,
    pool::{Pool, Texts},
    sql::{Conn, STATEMENT_TIMEOUT},
};

/// Pause between two measurements.
pub(super) const MEASURE_EVERY: Duration = Duration::from_secs(5);
/// Samples of one measurement: that with the shortest way there and back counts.
const SAMPLES: usize = 3;

/// Where ledger time comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeSource {
    /// The clock, corrected by its measured distance to the database's.
    Database,
    /// The clock as it is: for tests that turn it.
    Clock,
}

/// A clock and its distance to the database's.
pub(super) struct OffsetClock {
    clock: Arc<dyn Clock>,
    /// Microseconds that the database is ahead of the clock.
    offset: AtomicI64,
    measured: AtomicBool,
}

impl OffsetClock {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            offset: AtomicI64::new(0),
            measured: AtomicBool::new(false),
        }
    }

    /// Measures the distance, and corrects by it from now on.
    pub(super) async fn measure(&self, conn: &mut Conn) -> Result<(), Fail> {
        let mut best: Option<(i64, i64)> = None;
        for _ in 0..SAMPLES {
            let before = self.clock.now().micros();
            let row = conn.fetch_one(time_of(conn.dialect()), &[]).await?;
            let after = self.clock.now().micros();
            let there = row.int(0)?;
            // The database was asked after `before` and had answered before `after`.
            let (low, high) = (there - after, there - before);
            if low <= high && best.is_none_or(|(l, h)| high - low < h - l) {
                best = Some((low, high));
            }
        }
        if let Some(bounds) = best {
            let before = self.measured.swap(true, Ordering::Relaxed);
            let known = before.then(|| self.offset.load(Ordering::Relaxed));
            let offset = corrected(known, bounds);
            self.offset.store(offset, Ordering::Relaxed);
            metrics::gauge!("hongbao_clock_behind_database_seconds").set(offset as f64 / 1e6);
        }
        Ok(())
    }
}

/// The distance, given the one that is known and the bounds of a measurement. As little is
/// changed as the bounds allow: time never goes back, so a distance that wavered with every slow
/// answer would only ever grow.
fn corrected(known: Option<i64>, (low, high): (i64, i64)) -> i64 {
    match known {
        Some(known) => known.clamp(low, high),
        None => low + (high - low) / 2,
    }
}

impl Clock for OffsetClock {
    fn now(&self) -> Timestamp {
        let offset = self.offset.load(Ordering::Relaxed);
        self.clock.now().plus_micros(offset)
    }
}

/// Microseconds since the Unix epoch, whatever the session's time zone.
fn time_of(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::MySql => {
            "SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', UTC_TIMESTAMP(6))"
        }
        Dialect::Postgres => {
            "SELECT CAST(floor(extract(epoch FROM clock_timestamp()) * 1000000) AS BIGINT)"
        }
    }
}

/// Measures again and again, until the clock is of no more use to anybody.
pub(super) async fn keep_measuring(
    clock: std::sync::Weak<OffsetClock>,
    pool: Pool,
    texts: Arc<Texts>,
) {
    loop {
        tokio::time::sleep(MEASURE_EVERY).await;
        let Some(clock) = clock.upgrade() else { return };
        let measured = match pool.acquire(&texts, STATEMENT_TIMEOUT).await {
            Ok(mut conn) => clock.measure(&mut conn).await,
            Err(fail) => Err(fail),
        };
        if let Err(fail) = measured {
            // The distance of before is as good as any; the calls themselves tell that the
            // database is away.
            tracing::debug!(error = %fail.judge(), "the database's time was not measured");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_answer_moves_nothing_that_it_does_not_disprove() {
        assert_eq!(corrected(None, (100, 140)), 120);
        assert_eq!(corrected(Some(120), (-900_000, 1_000_000)), 120);
        assert_eq!(corrected(Some(120), (130, 500)), 130);
        assert_eq!(corrected(Some(120), (-500, 90)), 90);
    }
}
