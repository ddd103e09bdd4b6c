//! What the system says of this process, by the names that dashboards know.
//!
//! Read when somebody asks, from /proc; where there is none, these metrics are missing.

use std::fs;

use metrics::gauge;

/// The unit of times in /proc/self/stat: 100 a second on every Linux that we run on.
const TICKS_PER_SECOND: f64 = 100.0;

/// Tells how much time, memory and open files the process has taken.
pub(crate) fn tell() {
    if let Some(stat) = fs::read_to_string("/proc/self/stat")
        .ok()
        .and_then(|text| Stat::parse(&text))
    {
        gauge!("process_cpu_seconds_total").set(stat.cpu_ticks / TICKS_PER_SECOND);
        gauge!("process_threads").set(stat.threads);
        if let Some(booted_at) = booted_at() {
            let began = booted_at + stat.began_ticks / TICKS_PER_SECOND;
            gauge!("process_start_time_seconds").set(began);
        }
    }
    if let Some(kib) = line_of("/proc/self/status", "VmRSS:") {
        gauge!("process_resident_memory_bytes").set(kib * 1024.0);
    }
    if let Ok(files) = fs::read_dir("/proc/self/fd") {
        gauge!("process_open_fds").set(files.count() as f64);
    }
    if let Ok((most, _)) = rlimit::Resource::NOFILE.get() {
        gauge!("process_max_fds").set(most as f64);
    }
}

/// What is taken out of /proc/self/stat; see proc(5).
#[derive(Debug, PartialEq)]
struct Stat {
    /// In user and kernel mode.
    cpu_ticks: f64,
    threads: f64,
    /// Since the system booted.
    began_ticks: f64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The second field, the name, stands in brackets and may hold anything.
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<f64> = rest
            .split_ascii_whitespace()
            .map(|field| field.parse().unwrap_or(f64::NAN))
            .collect();
        // `rest` begins with the third field.
        let field = |number: usize| fields.get(number - 3).copied();
        Some(Self {
            cpu_ticks: field(14)? + field(15)?,
            threads: field(20)?,
            began_ticks: field(22)?,
        })
    }
}

/// Seconds since the Unix epoch.
fn booted_at() -> Option<f64> {
    line_of("/proc/stat", "btime")
}

/// The number behind `name` in a file of lines.
fn line_of(path: &str, name: &str) -> Option<f64> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_blanks_moves_no_field() {
        let text = "7 (a) b) S 1 7 7 0 -1 0 0 0 0 0 120 30 0 0 20 0 9 0 4200 1 1";
        let stat = Stat::parse(text).expect("all fields are there");
        let expected = Stat {
            cpu_ticks: 150.0,
            threads: 9.0,
            began_ticks: 4200.0,
        };
        assert_eq!(stat, expected);
        assert_eq!(Stat::parse("7 (a) S 1"), None);
    }
}
