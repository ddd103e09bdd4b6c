//! Out under load, in when idle, within bounds, and what is lost replaced.

use std::time::{Duration, Instant};

use autoscaler::rule::Pace;

use super::{PACE, Running, fake::Fake, looks, until};

const AUTO: (&str, &str) = ("hongbao.auto_scaling.max_cpu", "70");

#[tokio::test]
async fn load_brings_more_up_to_the_most_and_idleness_takes_them_away_again() {
    let fake = Fake::new();
    fake.add(
        "web",
        2,
        &[AUTO, ("hongbao.auto_scaling.max_instances", "4")],
    );
    fake.add("other", 1, &[]);
    fake.load("web", 8.0);
    fake.load("other", 8.0);
    let running = Running::begin(&fake);
    until(&fake, "four run", |fake| fake.running("web") == 4).await;
    looks(&fake, 30).await;
    assert_eq!(
        fake.numbers("web"),
        [1, 2, 3, 4],
        "never more than the most"
    );

    fake.load("web", 0.1);
    until(&fake, "one is left", |fake| fake.running("web") == 1).await;
    looks(&fake, 30).await;
    assert_eq!(fake.numbers("web"), [1], "the youngest go first");
    assert_eq!(fake.containers("web").len(), 1, "and are removed");
    assert_eq!(fake.running("other"), 1, "who does not ask is left alone");
    running.end().await;
}

#[tokio::test]
async fn steps_are_as_large_as_asked_and_nothing_goes_that_the_rest_cannot_carry() {
    let fake = Fake::new();
    let step = ("aliyun.auto_scaling.step", "2");
    fake.add("web", 1, &[AUTO, step]);
    fake.load("web", 1.2);
    let running = Running::begin(&fake);
    until(&fake, "three run", |fake| fake.running("web") == 3).await;
    // 40 % each: not below the threshold; then 30 %, where two would be at 45 % and one at 90 %.
    fake.load("web", 0.9);
    until(&fake, "two run", |fake| fake.running("web") == 2).await;
    looks(&fake, 40).await;
    assert_eq!(fake.numbers("web"), [1, 2]);
    running.end().await;
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let fake = Fake::new();
    fake.add("hot", 2, &[AUTO]);
    fake.add("idle", 3, &[AUTO]);
    fake.add("few", 1, &[("hongbao.auto_scaling.min_instances", "2")]);
    fake.load("hot", 8.0);
    let running = Running::begin_with(&fake, PACE, true);
    looks(&fake, 100).await;
    assert_eq!(fake.changes(), [""; 0]);
    running.end().await;
}

#[tokio::test]
async fn what_is_killed_is_started_again_and_what_is_removed_is_made_anew() {
    let fake = Fake::new();
    fake.add("web", 3, &[("hongbao.scale", "3")]);
    let running = Running::begin(&fake);
    looks(&fake, 2).await;
    fake.kill("p-web-2", 137);
    until(&fake, "it runs again", |fake| fake.running("web") == 3).await;
    assert_eq!(fake.numbers("web"), [1, 2, 3]);
    fake.remove("p-web-1");
    until(&fake, "there are three again", |fake| {
        fake.running("web") == 3
    })
    .await;
    assert_eq!(fake.numbers("web"), [2, 3, 4]);
    running.end().await;
}

#[tokio::test]
async fn the_last_one_is_made_again_from_memory() {
    let fake = Fake::new();
    fake.add("one", 1, &[("hongbao.scale", "1")]);
    fake.add("web", 1, &[("hongbao.scale", "1")]);
    let running = Running::begin(&fake);
    looks(&fake, 3).await;
    fake.remove("p-one-1");
    until(&fake, "it is back", |fake| fake.running("one") == 1).await;
    running.end().await;
}

#[tokio::test]
async fn a_project_that_was_taken_down_stays_down() {
    let fake = Fake::new();
    fake.add("one", 1, &[("hongbao.scale", "1")]);
    fake.add("web", 2, &[AUTO]);
    let running = Running::begin(&fake);
    looks(&fake, 3).await;
    for name in ["p-one-1", "p-web-1", "p-web-2"] {
        fake.remove(name);
    }
    // Longer than anything that was lost is waited for.
    looks(&fake, 100).await;
    assert_eq!(fake.changes(), [""; 0]);
    running.end().await;
}

#[tokio::test]
async fn fewer_than_the_least_become_the_least_and_more_than_the_most_the_most() {
    let fake = Fake::new();
    fake.add("few", 1, &[("hongbao.auto_scaling.min_instances", "3")]);
    fake.add("many", 5, &[("hongbao.auto_scaling.max_instances", "3")]);
    // Within the thresholds: only the bounds are at work.
    fake.load("few", 1.5);
    fake.load("many", 1.5);
    let running = Running::begin(&fake);
    until(&fake, "three each", |fake| {
        fake.running("few") == 3 && fake.running("many") == 3
    })
    .await;
    assert_eq!(fake.numbers("many"), [1, 2, 3]);
    looks(&fake, 20).await;
    assert_eq!(fake.running("few"), 3);
    assert_eq!(fake.running("many"), 3);
    running.end().await;
}

#[tokio::test]
async fn a_service_that_was_just_brought_up_begins_with_its_scale() {
    let fake = Fake::new();
    let scale = ("aliyun.scale", "3");
    fake.add("young", 1, &[AUTO, scale]);
    fake.change("p-young-1", |it| it.created = super::fake::NOW - 5);
    fake.add("old", 1, &[AUTO, scale]);
    fake.load("young", 1.5);
    fake.load("old", 0.5);
    let running = Running::begin(&fake);
    until(&fake, "three run", |fake| fake.running("young") == 3).await;
    assert_eq!(
        fake.running("old"),
        1,
        "an old one has been scaled in since"
    );
    running.end().await;
}

#[tokio::test]
async fn more_by_another_s_hand_are_kept() {
    let fake = Fake::new();
    fake.add(
        "web",
        2,
        &[AUTO, ("hongbao.auto_scaling.max_instances", "5")],
    );
    // Within the thresholds for two and for three.
    fake.load("web", 1.3);
    let running = Running::begin(&fake);
    looks(&fake, 3).await;
    // As `docker compose up --scale` makes it; a loss after that is a loss of one of three.
    fake.add_one("web", 3, "p-web-3");
    tokio::time::sleep(Duration::from_secs(1)).await;
    looks(&fake, 3).await;
    fake.kill("p-web-1", 137);
    until(&fake, "three run", |fake| fake.running("web") == 3).await;
    assert_eq!(fake.changes().len(), 1, "{}", fake.told());
    running.end().await;
}

#[tokio::test]
async fn more_by_another_s_hand_are_not_taken_for_idle_at_once() {
    let fake = Fake::new();
    fake.add("web", 2, &[AUTO]);
    // Within the thresholds for two, idle for three.
    fake.load("web", 1.0);
    let pace = Pace {
        cooldown_in: Duration::from_secs(2),
        ..PACE
    };
    let running = Running::begin_with(&fake, pace, false);
    tokio::time::sleep(pace.cooldown_in * 2).await;
    looks(&fake, 3).await;
    assert_eq!(fake.changes(), [""; 0]);
    let added = Instant::now();
    fake.add_one("web", 3, "p-web-3");
    until(&fake, "one goes", |fake| !fake.changes().is_empty()).await;
    assert!(added.elapsed() >= pace.cooldown_in, "at once");
    running.end().await;
}

#[tokio::test]
async fn none_is_added_while_one_starts() {
    let fake = Fake::new();
    fake.add("web", 1, &[AUTO]);
    fake.load("web", 8.0);
    fake.slow_to_start(true);
    let running = Running::begin(&fake);
    until(&fake, "a second one starts", |fake| {
        fake.running("web") == 2
    })
    .await;
    looks(&fake, 40).await;
    assert_eq!(fake.running("web"), 2, "it is waited for");
    fake.slow_to_start(false);
    fake.change("p-web-2", |it| it.status = "Up 3 seconds (healthy)".into());
    until(&fake, "a third one", |fake| fake.running("web") == 3).await;
    running.end().await;
}

#[tokio::test]
async fn the_one_that_leaves_gets_its_time_and_holds_up_nothing() {
    let fake = Fake::new();
    fake.add("web", 2, &[AUTO]);
    fake.change("p-web-2", |it| it.body["StopTimeout"] = 25.into());
    fake.add("kept", 2, &[("hongbao.scale", "2")]);
    fake.stops_in(Duration::from_secs(3));
    let running = Running::begin(&fake);
    until(&fake, "it is asked to stop", |fake| {
        fake.changes().contains(&"stop t=25".to_owned())
    })
    .await;
    fake.kill("p-kept-1", 137);
    until(&fake, "the other is mended meanwhile", |fake| {
        fake.running("kept") == 2
    })
    .await;
    assert_eq!(fake.running("web"), 2, "it still drains");
    // The end waits for it.
    running.end().await;
    assert_eq!(fake.numbers("web"), [1]);
    assert_eq!(fake.containers("web").len(), 1);
}
