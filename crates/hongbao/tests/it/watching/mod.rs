//! The dashboard, the alert rules and the runbook name only metrics and labels that a running server
//! tells; what is deployed is told only settings that there are; the dashboard is one that Grafana can
//! show, and every alert leads to what to do.
//!
//! Whether the rules are right is promtool's to say: scripts/watching.py.

mod promql;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use self::promql::{Read, groupings, parsed, selectors};
use crate::{
    client::{Client, serve},
    sample::{plain, text, with},
    server::Plan,
    until::until,
};

/// Told only where there is a database server, or a log service.
const CONDITIONAL: [&str; 2] = [
    "hongbao_clock_behind_database_seconds",
    "hongbao_sls_waiting_bytes",
];
/// Labels that Prometheus adds to what it reads.
const ADDED: [&str; 2] = ["job", "instance"];
/// A dashboard is so many columns wide.
const COLUMNS: u64 = 24;

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.ancestors().nth(2);
    root.expect("the workspace stands two folders up").into()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn dashboard() -> Value {
    serde_json::from_str(&read("deploy/grafana/hongbao.json")).expect("the dashboard is JSON")
}

/// Every panel but the rows' headings.
fn panels(dashboard: &Value) -> Vec<&Value> {
    let all = dashboard["panels"].as_array().expect("panels").iter();
    all.filter(|panel| panel["type"] != "row").collect()
}

/// What is asked of Prometheus, with where it stands.
fn expressions() -> Vec<(String, String)> {
    let dashboard = dashboard();
    let mut all = Vec::new();
    for panel in panels(&dashboard) {
        for target in panel["targets"].as_array().expect("targets") {
            all.push((text(&panel["title"]), text(&target["expr"])));
        }
    }
    for note in dashboard["annotations"]["list"].as_array().expect("a list") {
        all.push((text(&note["name"]), text(&note["expr"])));
    }
    let rules = read("deploy/prometheus/hongbao.rules.yml");
    for alert in rules.split("- alert: ").skip(1) {
        let name = alert.lines().next().expect("a name");
        let expression = alert.split("expr:").nth(1).expect("an expression");
        let end = expression.find("labels: {").expect("labels after it");
        all.push((name.to_owned(), expression[..end].to_owned()));
    }
    all
}

/// Has the server do a little of everything, and reads what it tells.
async fn told_by_a_busy_server() -> Read {
    let (_folder, _server, client) = serve();
    let rules = serde_json::json!({"rules": {"attempt_window_seconds": 10}});
    let campaign = client.create(&with(plain(1), rules)).await;
    client.grab(&campaign, "winner").await.win();
    assert!(client.grab(&campaign, "loser").await.missed("sold_out"));
    // Grabs are told once a second.
    until("both grabs are told", async || {
        (client.counter("hongbao_grabs_total").await >= 2).then_some(())
    })
    .await;
    assert_eq!(client.counter("hongbao_claim_batch_size_count").await, 1);
    parsed(&client.metrics().await)
}

/// The metrics that the autoscaler tells, which needs a Docker to run: as its sources name them.
fn told_by_the_autoscaler() -> Read {
    let folder = root().join("crates/autoscaler/src");
    let mut sources = String::new();
    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("the folder is there") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                sources.push_str(&fs::read_to_string(path).expect("text"));
            }
        }
    }
    let names = sources.split("\"hongbao_autoscale_").skip(1);
    let labels = ["project", "service", "decision", "action", "result"];
    let labels: BTreeMap<_, _> = labels
        .iter()
        .filter(|label| sources.contains(&format!("\"{label}\"")))
        .map(|label| ((*label).to_owned(), BTreeSet::new()))
        .collect();
    names
        .filter_map(|rest| rest.split('"').next())
        .map(|name| (format!("hongbao_autoscale_{name}"), labels.clone()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_and_label_that_is_watched_exists() {
    let mut told = told_by_a_busy_server().await;
    told.extend(told_by_the_autoscaler());
    let expressions = expressions();
    assert!(
        expressions.len() > 80,
        "only {} were found",
        expressions.len()
    );
    let mut wrong = Vec::new();
    for (place, expression) in &expressions {
        let mut labels: BTreeSet<&str> = ADDED.into();
        let chosen = selectors(expression);
        if chosen.is_empty() && !expression.contains("up{") {
            wrong.push(format!("{place}: names no metric: {expression}"));
        }
        for (name, matchers) in chosen {
            if CONDITIONAL.contains(&name) {
                continue;
            }
            let Some(known) = told.get(name) else {
                wrong.push(format!("{place}: nobody tells {name}"));
                continue;
            };
            labels.extend(known.keys().map(String::as_str));
            for (label, values) in matchers.iter().filter(|(label, _)| !ADDED.contains(label)) {
                match known.get(*label) {
                    None => wrong.push(format!("{place}: {name} has no label {label}")),
                    // The autoscaler's values are not known here.
                    Some(known) if known.is_empty() => {}
                    Some(known) => {
                        let unknown = values.iter().filter(|value| !known.contains(**value));
                        wrong
                            .extend(unknown.map(|v| format!("{place}: {name} has no {label}={v}")));
                    }
                }
            }
        }
        let unknown = groupings(expression);
        let unknown = unknown.iter().filter(|label| !labels.contains(**label));
        wrong.extend(unknown.map(|label| format!("{place}: nothing there has {label}")));
    }
    let named = words(&read("docs/operations.md"), "hongbao_");
    let unknown = named.iter().filter(|name| !told.contains_key(*name));
    wrong.extend(unknown.map(|name| format!("docs/operations.md: nobody tells {name}")));
    assert!(named.len() > 10, "only {named:?} are named");
    assert!(
        wrong.is_empty(),
        "watched, and not told:\n{}",
        wrong.join("\n")
    );
}

/// The words in `text` that begin so and go on as names do.
fn words(text: &str, begin: &str) -> BTreeSet<String> {
    let ends = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    let words = text
        .split(ends)
        .filter(|word| word.starts_with(begin) && *word != begin);
    words.map(str::to_owned).collect()
}

#[test]
fn every_setting_that_is_named_exists() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let plan = Plan::new(folder.path());
    let mut known = BTreeSet::new();
    for command in [
        &["serve"][..],
        &["autoscale"],
        &["aliyun"],
        &["campaign", "list"],
    ] {
        let asked = plan.command(&[command, &["--help"]].concat()).output();
        let said = asked.expect("the binary was built for this test").stdout;
        known.extend(words(&String::from_utf8_lossy(&said), "HONGBAO_"));
    }
    assert!(known.contains("HONGBAO_LISTEN"), "{known:?}");
    for path in [
        "README.md",
        "docs/operations.md",
        "deploy/haproxy/README.md",
        "deploy/kubernetes/README.md",
        "deploy/kubernetes/hongbao/values.yaml",
        "deploy/kubernetes/hongbao/templates/_helpers.tpl",
        "deploy/systemd/hongbao.service",
        "deploy/systemd/hongbao@.service",
    ] {
        let named = words(&read(path), "HONGBAO_");
        let unknown: Vec<_> = named.difference(&known).collect();
        assert!(
            unknown.is_empty(),
            "{path} names what there is not: {unknown:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_tell_of_themselves_and_of_no_backend() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let plan = Plan::new(folder.path());
    let server = plan.start_command(plan.command(&["webpage"]));
    let told = parsed(&Client::new(&server).metrics().await);
    assert!(told["hongbao_info"]["role"].contains("webpage"));
    for name in [
        "hongbao_up",
        "hongbao_connections",
        "process_cpu_seconds_total",
        "process_open_fds",
    ] {
        assert!(told.contains_key(name), "{name} is missing");
    }
    let backends = told
        .keys()
        .filter(|name| name.contains("ledger") || name.contains("grabs"));
    assert_eq!(backends.collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn grafana_can_show_the_dashboard() {
    let dashboard = dashboard();
    let mut ids = BTreeSet::new();
    let mut taken = BTreeMap::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        let title = text(&panel["title"]);
        assert!(
            ids.insert(panel["id"].as_u64().expect("an id")),
            "{title}: its id is another's"
        );
        let side = |name: &str| panel["gridPos"][name].as_u64().expect("a whole number");
        let (x, y, w, h) = (side("x"), side("y"), side("w"), side("h"));
        assert!(w > 0 && h > 0 && x + w <= COLUMNS, "{title} stands outside");
        for place in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            let other = taken.insert(place, title.clone());
            assert_eq!(other, None, "{title} lies on another panel");
        }
    }
    for panel in panels(&dashboard) {
        let title = text(&panel["title"]);
        assert!(
            !text(&panel["description"]).is_empty(),
            "{title} says not what it shows"
        );
        assert!(
            panel["fieldConfig"]["defaults"]["unit"].is_string(),
            "{title} has no unit"
        );
        let mut names = BTreeSet::new();
        for target in panel["targets"].as_array().expect("targets") {
            assert!(
                names.insert(text(&target["refId"])),
                "{title} names two targets alike"
            );
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
        }
        assert!(!names.is_empty(), "{title} shows nothing");
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
    }
    let variables = dashboard["templating"]["list"]
        .as_array()
        .expect("variables");
    let names: Vec<&Value> = variables.iter().map(|variable| &variable["name"]).collect();
    assert_eq!(names, ["datasource", "instance"]);
}

/// A heading's anchor, as hosts of Markdown make it.
fn anchor(heading: &str) -> String {
    let heading = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = heading
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn every_alert_leads_to_what_to_do() {
    let document = read("docs/operations.md");
    let headings = document.lines().filter(|line| line.starts_with('#'));
    let anchors: BTreeSet<String> = headings.map(anchor).collect();
    let rules = read("deploy/prometheus/hongbao.rules.yml");
    let alerts = rules.matches("- alert: ").count();
    let mut leads = 0;
    for line in rules.lines() {
        if let Some(to) = line.trim().strip_prefix("runbook: docs/operations.md#") {
            assert!(
                anchors.contains(to),
                "docs/operations.md has no heading #{to}"
            );
            leads += 1;
        }
    }
    assert_eq!(leads, alerts, "an alert without a runbook");
    // The dashboard names the same headings in words.
    for panel in panels(&dashboard()) {
        let description = text(&panel["description"]);
        if let Some((_, heading)) = description.split_once("Runbook: ") {
            let heading = anchor(heading.trim_end_matches('.'));
            assert!(
                anchors.contains(&heading),
                "docs/operations.md has no heading #{heading}"
            );
        }
    }
}
