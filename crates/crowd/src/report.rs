//! What a run found, for a person and for a program.

use std::{fmt, time::Duration};

use serde::Serialize;

use crate::{
    audit::{Books, Check, Source, Verdict},
    options::Options,
    run::{
        tally::{Counts, Latency},
        tapper::Stop,
    },
};

/// What a run did and found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Whether everything that was checked holds.
    pub ok: bool,
    /// How many checks could not be made.
    pub not_checked: usize,
    /// What was run.
    pub run: RunFacts,
    /// What became of the taps.
    pub taps: Counts,
    /// Latencies from the intended start, in milliseconds.
    pub latency_ms: Latency,
    /// The checks, in the order in which they are shown.
    pub checks: Vec<Check>,
    /// How many winners the server lists; `None` when the list was not read.
    pub winners_listed: Option<usize>,
    /// The currency of all amounts, where it is known.
    pub currency: Option<String>,
}

/// What was run.
#[derive(Clone, Debug, Serialize)]
pub struct RunFacts {
    /// The server.
    pub url: String,
    /// The campaign's id.
    pub campaign: String,
    /// The campaign's title.
    pub title: String,
    /// How many users.
    pub users: u32,
    /// Taps per second that were asked for.
    pub rate: f64,
    /// From the first arrival to the last answer, in seconds.
    pub ran_seconds: f64,
    /// Why arrivals stopped before their time.
    pub stopped_early: Option<&'static str>,
    /// Makes the same crowd again.
    pub seed: u64,
    /// What the identification codes began with.
    pub code_prefix: String,
    /// The share of replies that were dropped on purpose.
    pub drop_replies: f64,
}

impl RunFacts {
    pub(crate) fn new(options: &Options, title: &str, ran: Duration, stop: Stop) -> Self {
        Self {
            url: options.target.url.clone(),
            campaign: options.campaign.to_string(),
            title: title.to_owned(),
            users: options.users,
            rate: options.rate,
            ran_seconds: (ran.as_secs_f64() * 1e3).round() / 1e3,
            stopped_early: stop.reason(),
            seed: options.seed,
            code_prefix: options.code_prefix.clone(),
            drop_replies: options.drop_replies,
        }
    }
}

impl Report {
    pub(crate) fn new(
        run: RunFacts,
        taps: Counts,
        latency_ms: Latency,
        checks: Vec<Check>,
        books: &Books,
    ) -> Self {
        let winners_listed = match &books.winners {
            Source::Read(winners) => Some(winners.len()),
            Source::NoKey | Source::Failed(_) => None,
        };
        let currency = match &books.terms {
            Source::Read(terms) => terms.currency.clone(),
            Source::NoKey | Source::Failed(_) => None,
        };
        let not_checked = |check: &&Check| matches!(check.verdict, Verdict::NotChecked { .. });
        Self {
            ok: !checks.iter().any(|check| check.verdict.fails()),
            not_checked: checks.iter().filter(not_checked).count(),
            run,
            taps,
            latency_ms,
            checks,
            winners_listed,
            currency,
        }
    }

    /// What the process ends with: 0 when everything that was checked holds, otherwise 1.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        if self.ok { 0 } else { 1 }
    }

    /// The check of this name.
    #[must_use]
    pub fn check(&self, name: &str) -> Option<&Check> {
        self.checks.iter().find(|check| check.name == name)
    }
}

/// `n` with its thousands apart.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let run = &self.run;
        writeln!(f, "Crowd on “{}” ({})", run.title, run.campaign)?;
        writeln!(f, "  at {}", run.url)?;
        write!(
            f,
            "  {} users, {} taps/s for {:.1} s, seed {}",
            grouped(u64::from(run.users)),
            run.rate,
            run.ran_seconds,
            run.seed
        )?;
        match run.stopped_early {
            Some(why) => writeln!(f, " (stopped early: {why})")?,
            None => writeln!(f)?,
        }
        self.show_taps(f)?;
        self.show_latency(f)?;
        writeln!(f, "\nThe books")?;
        for check in &self.checks {
            show_check(f, check)?;
        }
        let verdict = match (self.ok, self.not_checked) {
            (true, 0) => "Everything holds.".to_owned(),
            (true, n) => format!("Everything that was checked holds; {n} checks were not made."),
            (false, _) => "NOT EVERYTHING HOLDS.".to_owned(),
        };
        writeln!(f, "\n{verdict}")
    }
}

impl Report {
    fn show_taps(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let taps = &self.taps;
        writeln!(f, "\nTaps")?;
        let always = [
            ("arrived", taps.arrived),
            ("answered", taps.answered),
            ("won", taps.won),
        ];
        for (name, count) in always {
            writeln!(f, "  {name:<28}{:>14}", grouped(count))?;
        }
        let reasons = |kind: &'static str, counts: &std::collections::BTreeMap<&str, u64>| {
            let named = counts
                .iter()
                .map(move |(k, v)| (format!("{kind}: {k}"), *v));
            named.collect::<Vec<_>>()
        };
        let mut when_any = vec![("won, told again".to_owned(), taps.repeated)];
        when_any.extend(reasons("missed", &taps.missed));
        when_any.extend(reasons("rejected", &taps.rejected));
        for (kind, count) in &taps.refused {
            when_any.push((format!("refused: {kind}"), *count));
        }
        when_any.extend([
            ("without an answer".to_owned(), taps.unanswered),
            ("not sent, too many in flight".to_owned(), taps.shed),
            ("sent late".to_owned(), taps.late),
            ("asked again after 5xx or 429".to_owned(), taps.unavailable),
            ("asked again after a loss".to_owned(), taps.lost),
            ("replies dropped on purpose".to_owned(), taps.dropped),
        ]);
        for (name, count) in when_any {
            if count > 0 {
                writeln!(f, "  {name:<28}{:>14}", grouped(count))?;
            }
        }
        Ok(())
    }

    fn show_latency(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Latency {
            p50,
            p90,
            p99,
            p999,
            max,
            ..
        } = self.latency_ms;
        writeln!(f, "\nLatency from the intended start, ms")?;
        writeln!(
            f,
            "  p50 {p50:.2}   p90 {p90:.2}   p99 {p99:.2}   p99.9 {p999:.2}   max {max:.2}"
        )
    }
}

fn show_check(f: &mut fmt::Formatter<'_>, check: &Check) -> fmt::Result {
    match &check.verdict {
        Verdict::Holds { examined } => writeln!(
            f,
            "  holds        {} ({} looked at)",
            check.what,
            grouped(*examined)
        ),
        Verdict::NotChecked { why } => writeln!(f, "  not checked  {}: {why}", check.what),
        Verdict::Fails {
            violations,
            examples,
        } => {
            let times = grouped(*violations);
            writeln!(f, "  FAILS        {} (violations: {times})", check.what)?;
            for example in examples {
                writeln!(f, "                 {example}")?;
            }
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_kept_apart() {
        let grouped = [0, 999, 1_000, 1_234_567].map(grouped);
        assert_eq!(grouped, ["0", "999", "1,000", "1,234,567"]);
    }
}
