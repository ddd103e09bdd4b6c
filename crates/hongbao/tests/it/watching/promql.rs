//! Just enough of PromQL and of the text that Prometheus reads to find the names in them.

use std::collections::{BTreeMap, BTreeSet};

/// A metric in an expression: its name, and the labels it is chosen by, each with the values that
/// are named.
pub(super) type Selector<'a> = (&'a str, Vec<(&'a str, Vec<&'a str>)>);

/// The metrics in an expression.
pub(super) fn selectors(expression: &str) -> Vec<Selector<'_>> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found = Vec::new();
    let mut rest = expression;
    while let Some(at) = rest.find(is_name) {
        let end = rest[at..]
            .find(|c| !is_name(c))
            .map_or(rest.len(), |n| at + n);
        let (name, after) = (&rest[at..end], &rest[end..]);
        rest = after;
        if !name.starts_with("hongbao_") && !name.starts_with("process_") {
            continue;
        }
        let mut labels = Vec::new();
        if let Some(inside) = after.strip_prefix('{') {
            let (inside, after) = inside.split_once('}').expect("braces close");
            rest = after;
            for matcher in inside.split(',') {
                let at = matcher.find(['=', '!']).expect("a label is compared");
                let values = matcher.split('"').nth(1).expect("with a text");
                let named = values.split('|').filter(|value| !value.starts_with('$'));
                labels.push((&matcher[..at], named.collect()));
            }
        }
        found.push((name, labels));
    }
    found
}

/// The labels in `by (…)` and `on (…)`.
pub(super) fn groupings(expression: &str) -> Vec<&str> {
    let lists = ["by (", "on ("].iter().flat_map(|begin| {
        let rest = expression.split(begin).skip(1);
        rest.filter_map(|rest| rest.split(')').next())
    });
    let labels = lists.flat_map(|list| list.split(',').map(str::trim));
    labels.filter(|label| !label.is_empty()).collect()
}

/// Metrics as they were read: each with its labels, and their values.
pub(super) type Read = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

/// What a scrape brings.
pub(super) fn parsed(metrics: &str) -> Read {
    let mut read = Read::new();
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        let Some((series, _value)) = line.rsplit_once(' ') else {
            continue;
        };
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let known = read.entry(name.to_owned()).or_default();
        for label in labels.trim_end_matches('}').split(',') {
            if let Some((name, value)) = label.split_once('=') {
                let values = known.entry(name.to_owned()).or_default();
                values.insert(value.trim_matches('"').to_owned());
            }
        }
    }
    read
}
