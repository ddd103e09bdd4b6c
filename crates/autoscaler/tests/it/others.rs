//! Containers that others are at work on, and those that were left half made: neither is touched,
//! started or copied by mistake.

use std::time::Duration;

use autoscaler::Patience;
use serde_json::json;

use super::{PACE, PATIENCE, Running, fake::Fake, looks, until};

const AUTO: (&str, &str) = ("hongbao.auto_scaling.max_cpu", "70");

/// As Compose v2 replaces a container: first the new one is made.
fn begin_to_replace(fake: &Fake) {
    fake.add_one("web", 1, "0123456789ab_p-web-1");
    fake.change("0123456789ab_p-web-1", |it| {
        it.state = "created";
        it.status = "Created".into();
        it.body["Labels"]["com.docker.compose.replace"] = "p-web-1".into();
        it.body["Labels"]["com.docker.compose.config-hash"] = "two".into();
    });
}

/// Then the old one is stopped and removed, and the new one gets its name and is started.
async fn replace(fake: &Fake) {
    looks(fake, 30).await;
    fake.kill("p-web-1", 0);
    looks(fake, 5).await;
    fake.remove("p-web-1");
    fake.change("0123456789ab_p-web-1", |it| it.name = "p-web-1".into());
    looks(fake, 30).await;
    fake.change("p-web-1", |it| {
        it.state = "running";
        it.status = "Up 1 second (healthy)".into();
    });
    looks(fake, 30).await;
}

#[tokio::test]
async fn compose_replaces_the_only_one_undisturbed() {
    let fake = Fake::new();
    fake.add("web", 1, &[("hongbao.scale", "1")]);
    let running = Running::begin(&fake);
    looks(&fake, 3).await;
    begin_to_replace(&fake);
    replace(&fake).await;
    assert_eq!(fake.changes(), [""; 0]);
    running.end().await;
}

#[tokio::test]
async fn a_scaler_that_begins_in_between_disturbs_as_little() {
    let fake = Fake::new();
    // Two would be allowed; there is to be one all the same.
    fake.add(
        "web",
        1,
        &[AUTO, ("hongbao.auto_scaling.max_instances", "2")],
    );
    fake.load("web", 0.5);
    begin_to_replace(&fake);
    let running = Running::begin(&fake);
    replace(&fake).await;
    assert_eq!(fake.changes(), [""; 0]);
    running.end().await;
}

#[tokio::test]
async fn idle_ones_stay_while_compose_replaces_them() {
    let fake = Fake::new();
    fake.add("web", 3, &[AUTO]);
    begin_to_replace(&fake);
    let running = Running::begin(&fake);
    looks(&fake, 60).await;
    assert_eq!(fake.changes(), [""; 0]);
    fake.remove("0123456789ab_p-web-1");
    until(&fake, "they go", |fake| fake.running("web") == 1).await;
    running.end().await;
}

#[tokio::test]
async fn what_was_left_half_made_is_removed_and_made_anew() {
    let fake = Fake::new();
    fake.add("web", 1, &[("hongbao.scale", "2")]);
    fake.add_one("web", 2, "p-web-2");
    fake.change("p-web-2", |it| {
        it.state = "created";
        it.body["Labels"]["hongbao.made-by"] = "autoscale".into();
        it.body["Env"] = json!(["HALF=1"]);
    });
    let half = fake.containers("web")[1].id.clone();
    let running = Running::begin(&fake);
    until(&fake, "another takes its place", |fake| {
        let there = fake.containers("web");
        fake.running("web") == 2 && there.len() == 2
    })
    .await;
    assert_eq!(fake.numbers("web"), [1, 3]);
    assert_eq!(fake.containers("web")[1].body["Env"], json!(["A=1"]));
    let start = format!("POST /containers/{half}/start");
    assert!(!fake.changes().contains(&start), "{}", fake.told());
    running.end().await;
}

#[tokio::test]
async fn what_another_made_and_does_not_start_is_neither_started_nor_copied() {
    let fake = Fake::new();
    fake.add("held", 1, &[("hongbao.scale", "2")]);
    fake.change("p-held-1", |it| it.state = "created");
    fake.add("web", 1, &[("hongbao.scale", "2")]);
    fake.add_one("web", 2, "p-web-2");
    fake.change("p-web-2", |it| {
        it.state = "created";
        it.body["Env"] = json!(["HALF=1"]);
    });
    let soon = Patience {
        made_left_for: Duration::from_millis(300),
        ..PATIENCE
    };
    let running = Running::begin_patient(&fake, PACE, soon);
    until(&fake, "one is made", |fake| fake.numbers("web") == [1, 3]).await;
    looks(&fake, 60).await;
    let there = fake.containers("web");
    assert_eq!(there[1].state, "created");
    assert_eq!(there[2].body["Env"], json!(["A=1"]));
    // Of the other service nothing has ever run: there is nothing to go by.
    assert_eq!(fake.containers("held").len(), 1);
    assert_eq!(fake.containers("held")[0].state, "created");
    running.end().await;
}

#[tokio::test]
async fn one_that_serves_is_copied_before_one_that_starts() {
    let fake = Fake::new();
    fake.add("web", 1, &[("hongbao.scale", "3")]);
    fake.add_one("web", 2, "p-web-2");
    fake.change("p-web-2", |it| {
        it.status = "Up 1 second (health: starting)".into();
        it.body["Env"] = json!(["HALF=1"]);
    });
    let running = Running::begin(&fake);
    until(&fake, "three run", |fake| fake.running("web") == 3).await;
    assert_eq!(fake.containers("web")[2].body["Env"], json!(["A=1"]));
    running.end().await;
}

#[tokio::test]
async fn one_that_cannot_be_connected_is_removed_again() {
    let fake = Fake::new();
    fake.add("web", 1, &[("hongbao.scale", "2")]);
    fake.more_networks();
    fake.refuse("/connect", 500);
    let running = Running::begin(&fake);
    let removed = |fake: &Fake| {
        let changes = fake.changes();
        changes.iter().filter(|it| it.starts_with("DELETE")).count()
    };
    until(&fake, "two tries", |fake| removed(fake) >= 2).await;
    fake.refuse_nothing();
    until(&fake, "two run", |fake| fake.running("web") == 2).await;
    assert_eq!(fake.containers("web").len(), 2, "{}", fake.told());
    running.end().await;
}

#[tokio::test]
async fn the_only_one_overloaded_and_unhealthy_gets_help() {
    let fake = Fake::new();
    fake.add("web", 1, &[AUTO]);
    fake.change("p-web-1", |it| {
        it.status = "Up 3 minutes (unhealthy)".into()
    });
    fake.load("web", 1.0);
    let running = Running::begin(&fake);
    until(&fake, "another", |fake| fake.running("web") >= 2).await;
    running.end().await;
}

#[tokio::test]
async fn kill_after_kill_is_mended() {
    let fake = Fake::new();
    fake.add("web", 3, &[("hongbao.scale", "3")]);
    // Where each mending waited longer than the one before, the last would take minutes.
    let stern = Patience {
        tried_again_within: Duration::from_secs(3_600),
        mended_after: Duration::from_secs(3_600),
        ..PATIENCE
    };
    let running = Running::begin_patient(&fake, PACE, stern);
    looks(&fake, 2).await;
    for kill in 0..12 {
        fake.kill(&format!("p-web-{}", kill % 3 + 1), 137);
        until(&fake, "it runs again", |fake| fake.running("web") == 3).await;
        tokio::time::sleep(PATIENCE.holds_after * 2).await;
        looks(&fake, 3).await;
    }
    running.end().await;
}
