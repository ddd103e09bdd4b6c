//! Every metric of the services, and what it means: described for `/metrics`, and there from the
//! start where it counts.
//!
//! A test compares this table with the sources, and the alert rules and the dashboard with it.

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, histogram};

use crate::serve::Role;

/// The upper ends of histograms' buckets.
pub(super) const BUCKETS: &[(&str, &[f64])] = &[
    (
        "hongbao_claim_batch_size",
        &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0],
    ),
    (
        "hongbao_claim_commit_seconds",
        &[
            0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0,
        ],
    ),
    (
        "hongbao_account_call_attempts",
        &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0],
    ),
];

/// Each line: the metric, its kind, who has it, and what it means. Of the kind `labelled` are
/// counters with labels, which are there when they first count.
const TABLE: &str = include_str!("told.txt");

/// A metric as the table tells it.
#[derive(Clone, Copy)]
struct Told {
    name: &'static str,
    kind: &'static str,
    of: &'static str,
    help: &'static str,
}

fn table() -> impl Iterator<Item = Told> {
    TABLE.lines().map(|line| {
        let mut rest = line;
        let mut word = || {
            let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
            rest = after.trim_start();
            word
        };
        let (name, kind, of) = (word(), word(), word());
        Told {
            name,
            kind,
            of,
            help: rest,
        }
    })
}

/// Whether a process of `role` has what the table says is of `whom`.
fn is_of(whom: &str, role: Role) -> bool {
    match whom {
        "each" => true,
        "backed" => role != Role::Webpage,
        "account" => role.is_account(),
        "redpacket" => role.is_redpacket(),
        "monitor" => role.is_monitor(),
        "queue" => role.is_redpacket() || role.is_monitor(),
        _ => unreachable!("a test knows every word of the table"),
    }
}

/// Describes the metrics of a process of `role`, and begins what counts at zero.
pub(super) fn describe(role: Role) {
    for Told {
        name, kind, help, ..
    } in table().filter(|told| is_of(told.of, role))
    {
        match kind {
            "counter" => {
                describe_counter!(name, help);
                counter!(name).increment(0);
            }
            "labelled" => describe_counter!(name, help),
            "gauge" => describe_gauge!(name, help),
            "histogram" => {
                describe_histogram!(name, help);
                // Made, and nothing recorded.
                drop(histogram!(name));
            }
            _ => unreachable!("a test knows every word of the table"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    fn sources(folder: &Path, found: &mut String) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.push_str(&fs::read_to_string(path).unwrap());
            }
        }
    }

    /// The names in `counter!("…"` and its like; those that a constant holds stand in `Link::open`.
    fn named(source: &str) -> BTreeSet<&str> {
        ["counter!(", "gauge!(", "histogram!(", "CALL_TIMEOUT, "]
            .iter()
            .flat_map(|begin| source.split(begin).skip(1))
            .filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next())
            .filter(|name| name.starts_with("hongbao_") || name.starts_with("process_"))
            .collect()
    }

    #[test]
    fn the_table_holds_what_the_sources_count_and_nothing_else() {
        let mut source = String::new();
        let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        for one in [
            "services", "ledger", "queue", "eventlog", "aliyun", "hongbao",
        ] {
            sources(&crates.join(one).join("src"), &mut source);
        }
        let told: Vec<&str> = table().map(|told| told.name).collect();
        assert!(told.is_sorted(), "the table is in order");
        let unique: BTreeSet<&str> = told.iter().copied().collect();
        assert_eq!(told.len(), unique.len(), "a metric is told twice");
        assert_eq!(named(&source), unique);
    }

    #[test]
    fn every_line_of_the_table_is_understood() {
        const KINDS: [&str; 4] = ["counter", "labelled", "gauge", "histogram"];
        for told in table() {
            assert!(KINDS.contains(&told.kind), "{}: {}", told.name, told.kind);
            assert!(!told.help.is_empty(), "{}", told.name);
            // Panics at a word that it does not know.
            is_of(told.of, Role::All);
        }
        for (name, _) in BUCKETS {
            let histogram = table().any(|told| told.name == *name && told.kind == "histogram");
            assert!(histogram, "{name}");
        }
    }
}
