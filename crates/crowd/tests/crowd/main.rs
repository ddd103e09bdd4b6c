//! A crowd against a small server that keeps the contract in memory: honest, unreliable, or
//! lying in one way.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed, and the place says enough"
)]

mod fake;

use std::time::Duration;

use crowd::{Options, Report, Target, audit::Verdict};
use fake::{Fake, KEY, Lie};
use rules::CampaignId;

/// A short, hard run against `fake`: 60 users, some 600 taps.
fn options(fake: &Fake) -> Options {
    let target = Target::parse(&fake.url).unwrap();
    let campaign = CampaignId(fake::CAMPAIGN);
    Options {
        users: 60,
        rate: 1_500.0,
        duration: Duration::from_millis(400),
        organiser_key: Some(KEY.to_owned()),
        connections: 8,
        answer_within: Duration::from_secs(10),
        stop_early: false,
        ..Options::new(target, campaign, 7, 99)
    }
}

fn failing(report: &Report) -> Vec<&'static str> {
    let failing = report.checks.iter().filter(|check| check.verdict.fails());
    failing.map(|check| check.name).collect()
}

async fn run(options: Options) -> Report {
    crowd::run(options).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_honest_server_passes_every_check() {
    let fake = Fake::start(Lie::None).await;
    let report = run(options(&fake)).await;
    assert!(report.ok, "{report}");
    assert_eq!((report.exit_code(), report.not_checked), (0, 0), "{report}");
    assert_eq!(report.taps.arrived, 600);
    assert_eq!(report.taps.answered + report.taps.shed, 600, "{report}");
    assert_eq!(report.taps.won, u64::from(fake::PACKETS));
    assert_eq!(report.winners_listed, Some(fake::PACKETS as usize));
    let shown = report.to_string();
    assert!(shown.contains("Everything holds."), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_replies_and_503s_are_asked_again_until_answered() {
    let fake = Fake::start(Lie::Unreliable).await;
    let report = run(Options {
        attempt_timeout: Duration::from_millis(300),
        drop_replies: 0.3,
        ..options(&fake)
    })
    .await;
    assert!(report.ok, "{report}");
    assert!(report.taps.unavailable > 0, "{report}");
    assert!(report.taps.lost > 0, "{report}");
    assert!(report.taps.dropped > 0, "{report}");
    assert_eq!(report.taps.unanswered, 0, "{report}");
    // The server saw each repeat with the Grab-Id of its tap and the next Grab-Attempt.
    assert_eq!(fake.broken_repeats(), 0);
    assert!(fake.repeats() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_lie_is_caught_by_the_check_that_is_made_for_it() {
    let lies = [
        (Lie::LosesAWin, "told_is_listed"),
        (Lie::ChangesAnAmount, "told_is_listed"),
        (Lie::AssignsAPacketTwice, "own_packets_only"),
        (Lie::ListsAPacketTwice, "no_packet_twice"),
        (Lie::GivesAUserTwo, "win_limit"),
        (Lie::KeepsAWinSecret, "listed_was_told"),
        (Lie::ShowsForeignWins, "own_wins_agree"),
        (Lie::AuditsWrongly, "sums_agree"),
        (Lie::AdmitsImbalance, "server_balanced"),
        (Lie::HidesItsBooks, "books_read"),
        (Lie::AnswersNonsense, "all_answered"),
    ];
    for (lie, check) in lies {
        let fake = Fake::start(lie).await;
        let report = run(options(&fake)).await;
        let failing = failing(&report);
        assert!(failing.contains(&check), "{lie:?}: {failing:?}\n{report}");
        assert_eq!(report.exit_code(), 1, "{lie:?}");
        assert!(report.to_string().contains("NOT EVERYTHING HOLDS."));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_win_taken_back_from_a_repeat_is_caught() {
    let fake = Fake::start(Lie::TakesBackFromRepeats).await;
    let report = run(Options {
        drop_replies: 0.5,
        ..options(&fake)
    })
    .await;
    assert!(failing(&report).contains(&"repeats_agree"), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tap_that_is_never_answered_is_counted_and_fails_the_run() {
    let fake = Fake::start(Lie::NeverDecides).await;
    let report = run(Options {
        duration: Duration::from_millis(50),
        answer_within: Duration::from_millis(300),
        ..options(&fake)
    })
    .await;
    assert_eq!(report.taps.answered, 0, "{report}");
    assert!(report.taps.unanswered > 0, "{report}");
    assert!(failing(&report).contains(&"all_answered"), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn arrivals_beyond_the_bound_are_shed_and_counted() {
    let fake = Fake::start(Lie::NeverDecides).await;
    let report = run(Options {
        duration: Duration::from_millis(100),
        in_flight_max: 5,
        answer_within: Duration::from_millis(400),
        ..options(&fake)
    })
    .await;
    assert!(report.taps.shed >= 140, "{report}");
    assert_eq!(report.taps.arrived, 150, "{report}");
    assert_eq!(report.taps.shed + report.taps.unanswered, 150, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sold_out_campaign_ends_the_run() {
    let fake = Fake::start(Lie::None).await;
    let report = run(Options {
        duration: Duration::from_secs(600),
        stop_early: true,
        ..options(&fake)
    })
    .await;
    assert_eq!(report.run.stopped_early, Some("sold out"));
    assert!(report.ok, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_the_report_says_what_was_not_checked() {
    let fake = Fake::start(Lie::None).await;
    let report = run(Options {
        organiser_key: None,
        ..options(&fake)
    })
    .await;
    assert!(report.ok, "{report}");
    assert!(report.not_checked > 0);
    let check = report.check("told_is_listed").unwrap();
    assert!(matches!(&check.verdict, Verdict::NotChecked { .. }));
    assert!(report.to_string().contains("needs the organiser key"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_start_is_an_error_and_no_report() {
    let fake = Fake::start(Lie::None).await;
    let unknown = Options {
        campaign: CampaignId(uuid::Uuid::nil()),
        ..options(&fake)
    };
    let refusal = crowd::run(unknown).await.unwrap_err().to_string();
    assert!(refusal.contains("404 no_such_campaign"), "{refusal}");

    let nobody = Options {
        // A port that was free a moment ago and that nobody listens on now.
        target: Target::parse(&fake::closed_port().await).unwrap(),
        ..options(&fake)
    };
    let refusal = crowd::run(nobody).await.unwrap_err().to_string();
    assert!(refusal.contains("is the server running"), "{refusal}");

    let strangers = Options {
        code_prefix: "unknown-".to_owned(),
        ..options(&fake)
    };
    let refusal = crowd::run(strangers).await.unwrap_err().to_string();
    assert!(refusal.contains("401 unknown_code"), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_json_report_names_every_check_and_count() {
    let fake = Fake::start(Lie::None).await;
    let report = run(options(&fake)).await;
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["ok"], true);
    assert_eq!(json["taps"]["won"], fake::PACKETS);
    assert_eq!(json["checks"][0]["name"], "all_answered");
    assert_eq!(json["checks"][0]["verdict"], "holds");
    assert!(json["latency_ms"]["p99"].is_number());
}
