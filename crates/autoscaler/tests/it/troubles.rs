//! What goes wrong around it.

use std::time::Duration;

use autoscaler::{Docker, DockerError, Patience, rule::Pace};

use super::{PACE, PATIENCE, Running, fake::Fake, looks, until};

const AUTO: (&str, &str) = ("hongbao.auto_scaling.max_cpu", "70");

#[tokio::test]
async fn a_wrong_label_leaves_its_service_alone_and_no_other() {
    let fake = Fake::new();
    fake.add(
        "wrong",
        2,
        &[AUTO, ("hongbao.auto_scaling.min_cpu", "many")],
    );
    fake.add("right", 1, &[AUTO]);
    fake.load("wrong", 8.0);
    fake.load("right", 8.0);
    let running = Running::begin(&fake);
    until(&fake, "the right one grows", |fake| {
        fake.running("right") > 2
    })
    .await;
    assert_eq!(fake.running("wrong"), 2);
    running.end().await;
}

#[tokio::test]
async fn a_restart_of_its_own_moves_nothing() {
    let fake = Fake::new();
    fake.add("web", 3, &[AUTO]);
    let slow = Pace {
        cooldown_in: Duration::from_secs(3_600),
        ..PACE
    };
    for _ in 0..3 {
        // Idle, yet none goes before a cool-down has passed since the start.
        let running = Running::begin_with(&fake, slow, false);
        looks(&fake, 30).await;
        running.end().await;
    }
    assert_eq!(fake.changes(), [""; 0]);
}

#[tokio::test]
async fn what_it_missed_while_it_was_away_it_mends() {
    let fake = Fake::new();
    fake.add("web", 3, &[("hongbao.scale", "2")]);
    // One was killed, and one was on its way out when the scaler itself was killed.
    fake.kill("p-web-2", 137);
    fake.kill("p-web-3", 0);
    let running = Running::begin(&fake);
    until(&fake, "two run", |fake| fake.running("web") == 2).await;
    assert_eq!(fake.numbers("web"), [1, 2]);
    until(&fake, "the third is removed", |fake| {
        fake.containers("web").len() == 2
    })
    .await;
    running.end().await;
}

#[tokio::test]
async fn a_docker_that_goes_away_is_waited_for() {
    let mut fake = Fake::new();
    fake.add("web", 2, &[AUTO]);
    fake.load("web", 8.0);
    fake.go();
    let running = Running::begin(&fake);
    tokio::time::sleep(Duration::from_millis(300)).await;
    fake.come();
    until(&fake, "three run", |fake| fake.running("web") == 3).await;
    fake.go();
    tokio::time::sleep(Duration::from_millis(300)).await;
    fake.kill("p-web-1", 1);
    fake.come();
    until(&fake, "it goes on", |fake| fake.running("web") >= 4).await;
    running.end().await;
}

#[tokio::test]
async fn missing_figures_take_none_away() {
    let fake = Fake::new();
    fake.add("web", 3, &[AUTO]);
    let id = fake.containers("web")[1].id.clone();
    fake.refuse(&format!("GET /containers/{id}/stats"), 500);
    let running = Running::begin(&fake);
    looks(&fake, 60).await;
    assert_eq!(fake.changes(), [""; 0]);
    fake.refuse_nothing();
    until(&fake, "known, they go", |fake| fake.running("web") == 1).await;
    running.end().await;
}

#[tokio::test]
async fn one_that_is_unwell_takes_none_away_and_keeps_none_from_coming() {
    let fake = Fake::new();
    fake.add("idle", 3, &[AUTO]);
    fake.add(
        "busy",
        2,
        &[AUTO, ("hongbao.auto_scaling.max_instances", "3")],
    );
    fake.load("busy", 8.0);
    for name in ["p-idle-3", "p-busy-2"] {
        fake.change(name, |it| it.status = "Up 3 minutes (unhealthy)".into());
    }
    let running = Running::begin(&fake);
    until(&fake, "a third one", |fake| fake.running("busy") == 3).await;
    looks(&fake, 40).await;
    assert_eq!(fake.running("idle"), 3);
    fake.change("p-idle-3", |it| it.status = "Up 3 minutes (healthy)".into());
    until(&fake, "they go", |fake| fake.running("idle") == 1).await;
    running.end().await;
}

#[tokio::test]
async fn one_that_stays_unhealthy_while_others_serve_is_replaced() {
    let fake = Fake::new();
    let least = ("hongbao.auto_scaling.min_instances", "2");
    fake.add("web", 2, &[AUTO, least]);
    fake.add(
        "loaded",
        2,
        &[AUTO, least, ("hongbao.auto_scaling.max_instances", "2")],
    );
    fake.add("none", 2, &[AUTO, least]);
    fake.load("loaded", 8.0);
    for name in ["p-web-1", "p-loaded-1", "p-none-1", "p-none-2"] {
        fake.change(name, |it| it.status = "Up 3 minutes (unhealthy)".into());
    }
    let brisk = Patience {
        unhealthy_kept_for: Duration::from_millis(500),
        ..PATIENCE
    };
    let running = Running::begin_patient(&fake, PACE, brisk);
    until(&fake, "another", |fake| fake.numbers("web") == [2, 3]).await;
    looks(&fake, 40).await;
    assert_eq!(fake.numbers("web"), [2, 3]);
    assert_eq!(fake.numbers("loaded"), [1, 2]);
    assert_eq!(fake.numbers("none"), [1, 2]);
    running.end().await;
}

#[tokio::test]
async fn one_that_cannot_be_made_is_tried_again_and_leaves_nothing_behind() {
    let fake = Fake::new();
    fake.add("web", 1, &[AUTO]);
    fake.load("web", 8.0);
    fake.refuse("/start", 500);
    let running = Running::begin(&fake);
    let tries = |fake: &Fake| {
        let changes = fake.changes();
        changes.iter().filter(|it| it.ends_with("/create")).count()
    };
    until(&fake, "two tries", |fake| tries(fake) >= 2).await;
    assert_eq!(fake.running("web"), 1);
    fake.refuse_nothing();
    until(&fake, "two run", |fake| fake.running("web") >= 2).await;
    let containers = fake.containers("web");
    assert!(containers.iter().all(|it| it.runs()), "{}", fake.told());
    running.end().await;
}

#[tokio::test]
async fn a_stopped_one_that_does_not_start_is_replaced() {
    let fake = Fake::new();
    fake.add("web", 2, &[("hongbao.scale", "2")]);
    let running = Running::begin(&fake);
    looks(&fake, 2).await;
    let id = fake.containers("web")[0].id.clone();
    fake.refuse(&format!("POST /containers/{id}/start"), 500);
    fake.kill("p-web-1", 137);
    until(&fake, "another runs", |fake| fake.numbers("web") == [2, 3]).await;
    running.end().await;
}

#[tokio::test]
async fn one_that_dies_on_its_way_out_is_gone_all_the_same() {
    let fake = Fake::new();
    fake.add("web", 2, &[AUTO]);
    fake.stops_in(Duration::from_millis(500));
    let running = Running::begin(&fake);
    until(&fake, "it is asked to stop", |fake| {
        !fake.changes().is_empty()
    })
    .await;
    fake.remove("p-web-2");
    looks(&fake, 60).await;
    assert_eq!(fake.numbers("web"), [1]);
    running.end().await;
}

#[tokio::test]
async fn what_can_be_there_only_once_is_not_copied() {
    let fake = Fake::new();
    fake.add("port", 1, &[AUTO]);
    fake.change("p-port-1", |it| {
        it.body["HostConfig"]["PortBindings"] =
            serde_json::json!({ "80/tcp": [{ "HostIp": "", "HostPort": "8080" }] });
    });
    fake.add("named", 1, &[AUTO]);
    fake.change("p-named-1", |it| it.name = "thename".into());
    fake.add("web", 1, &[AUTO]);
    for service in ["port", "named", "web"] {
        fake.load(service, 8.0);
    }
    let running = Running::begin(&fake);
    until(&fake, "the other grows", |fake| fake.running("web") >= 3).await;
    assert_eq!((fake.running("port"), fake.running("named")), (1, 1));
    running.end().await;
}

#[tokio::test]
async fn a_docker_that_is_away_may_come_and_one_that_knows_of_no_such_thing_was_told_wrong() {
    let mut fake = Fake::new();
    let docker = Docker::at(&fake.address()).unwrap();
    let unknown = docker.project_of("nobody").await.unwrap_err();
    assert!(!unknown.may_pass(), "{unknown}");
    fake.refuse("/json", 503);
    let busy = docker.project_of("nobody").await.unwrap_err();
    assert!(busy.may_pass(), "{busy}");
    fake.go();
    let away = Docker::at(&fake.address()).unwrap();
    let away = away.project_of("nobody").await.unwrap_err();
    assert!(
        matches!(away, DockerError::Away(_)) && away.may_pass(),
        "{away}"
    );
}

#[tokio::test]
async fn addresses_that_are_none_are_refused() {
    for address in ["", "docker.sock", "unix://relative", "ssh://host", "tcp://"] {
        let refused = Docker::at(address).expect_err("a refusal").to_string();
        assert!(refused.contains("unix:///PATH"), "{address}: {refused}");
    }
}
