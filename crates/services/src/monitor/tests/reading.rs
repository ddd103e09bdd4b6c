//! What the organiser reads: lists, live state, winners, statistics, audits.

use http::{Method, StatusCode};
use ledger::{Counts, NodeId};
use rules::{Missed, Outcome, Tally};
use serde_json::{Value, json};

use crate::monitor::testkit::{Bench, PUBLIC_URL, terms, terms_with};

const CAMPAIGNS: &str = "/monitor/api/campaigns";

/// A campaign of which `users` have won packets 1-1, 1-2 and so on.
async fn won_by(bench: &Bench, terms: Value, users: &[&str]) -> String {
    let id = bench.create(terms).await["id"].as_str().unwrap().to_owned();
    for (index, user) in (1..).zip(users) {
        let amount = bench.amount(&id, 1, index).await;
        bench.claim(&id, user, &format!("1-{index}"), amount).await;
    }
    id
}

#[tokio::test]
async fn campaigns_are_listed_in_pages_the_newest_first() {
    let bench = Bench::new().await;
    for n in 0..5 {
        bench
            .create(terms_with("title", json!(format!("Number {n}"))))
            .await;
    }
    let mut titles = Vec::new();
    let mut before = String::new();
    loop {
        let page = bench
            .get(&format!("{CAMPAIGNS}?limit=2{before}"))
            .await
            .json();
        let campaigns = page["campaigns"].as_array().unwrap().iter();
        titles.extend(campaigns.map(|c| c["title"].as_str().unwrap().to_owned()));
        match page["next_before"].as_i64() {
            Some(next) => before = format!("&before={next}"),
            None => break,
        }
    }
    assert_eq!(
        titles,
        ["Number 4", "Number 3", "Number 2", "Number 1", "Number 0"]
    );
}

#[tokio::test]
async fn live_counts_contradict_nothing() {
    let bench = Bench::new().await;
    let id = won_by(&bench, terms(), &["bob", "eve"]).await;
    let no = bench.no(&id).await;
    let node = NodeId(1);
    let mut tally = Tally::default();
    tally.outcomes[Outcome::Missed(Missed::SoldOut).slot()] = 7;
    tally.outcomes[Outcome::Repeated.slot()] = 2;
    let now = bench.ledger.now();
    let second = now.micros() / 1_000_000;
    bench.ledger.begin_epoch(node).await.unwrap();
    let counts = [Counts {
        campaign: no,
        second,
        tally,
    }];
    bench
        .ledger
        .save_counts(node, bench.ledger.now(), &counts)
        .await
        .unwrap();

    let path = format!("{CAMPAIGNS}/{id}/live");
    let live = bench.get(&path).await.json();
    let number = |name: &str| live[name].as_u64().unwrap();
    assert_eq!(
        (number("issued"), number("claimed"), number("remaining")),
        (4, 2, 8)
    );
    assert_eq!(
        number("queued") + number("leased"),
        number("issued") - number("claimed")
    );
    assert_eq!(live["by_outcome"]["won"], 2);
    assert_eq!(live["by_outcome"]["repeated"], 2);
    assert_eq!(live["by_outcome"]["missed"]["sold_out"], 7);
    assert_eq!(live["by_outcome"]["rejected"]["blocked"], 0);

    // Grabs counted long ago are counted all the same, and once.
    bench.clock.forward_seconds(300);
    for _ in 0..2 {
        let later = bench.get(&path).await.json();
        assert_eq!(later["by_outcome"]["missed"]["sold_out"], 7);
    }
    bench
        .post(&format!("{CAMPAIGNS}/{id}/close"), json!({}))
        .await;
    let ended = bench.get(&path).await.json();
    assert_eq!(ended["state"], "ended");
    for (name, expected) in [
        ("queued", 0),
        ("leased", 0),
        ("remaining", 0),
        ("refunded", 8),
    ] {
        assert_eq!(ended[name], expected, "{name}");
    }
    let sum =
        ended["claimed_amount"].as_u64().unwrap() + ended["refunded_amount"].as_u64().unwrap();
    assert_eq!(sum, 10_000);
}

#[tokio::test]
async fn statistics_have_a_point_for_every_step() {
    let bench = Bench::new().await;
    let id = won_by(&bench, terms(), &["bob"]).await;
    let no = bench.no(&id).await;
    let start = bench.ledger.now().micros() / 1_000_000;
    let node = NodeId(1);
    bench.ledger.begin_epoch(node).await.unwrap();
    let counts = [0, 5].map(|after| {
        let mut tally = Tally::default();
        tally.outcomes[Outcome::Missed(Missed::SoldOut).slot()] = 3;
        tally.latencies[rules::outcome::latency_bucket(100)] = 3;
        Counts {
            campaign: no,
            second: start + after,
            tally,
        }
    });
    let upto = bench.ledger.now();
    bench.ledger.save_counts(node, upto, &counts).await.unwrap();
    bench.clock.forward_seconds(10);
    for step in ["", "?step=1", "?step=4", "?step=3600"] {
        let stats = bench
            .get(&format!("{CAMPAIGNS}/{id}/stats{step}"))
            .await
            .json();
        let series = stats["series"].as_array().unwrap();
        let sum: u64 = series
            .iter()
            .map(|p| p["missed"]["sold_out"].as_u64().unwrap())
            .sum();
        assert_eq!(sum, 6, "{step}: {stats}");
        assert_eq!(series[0]["at"], stats["from"]);
        assert!(series.len() <= 300);
        assert!(stats["latency_micros"]["p999"].as_u64().unwrap() >= 100);
        assert_eq!(stats["amounts"][0]["count"], 1);
        assert_eq!(stats["gaps"], json!([]));
    }
}

#[tokio::test]
async fn winners_come_in_pages_and_redeem_once() {
    let bench = Bench::new().await;
    let id = won_by(&bench, terms(), &["bob", "eve", "ann"]).await;
    let path = format!("{CAMPAIGNS}/{id}/winners");
    let mut users = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = bench.get(&format!("{path}?limit=2{cursor}")).await.json();
        let winners = page["winners"].as_array().unwrap().iter();
        users.extend(winners.map(|w| w["user"].as_str().unwrap().to_owned()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(users, ["bob", "eve", "ann"]);
    // However it is written.
    for (query, expected) in [("q=EVE", 1), ("q=ev", 1), ("q=1-2", 1), ("q=eva", 0)] {
        let found = bench.get(&format!("{path}?{query}")).await.json();
        let winners = found["winners"].as_array().unwrap();
        assert_eq!(winners.len(), expected, "{query}: {found}");
        assert!(winners.iter().all(|winner| winner["user"] == "eve"));
    }
    let redeem = async |packet: &str| {
        let path = format!("{path}/{packet}/redeem");
        bench.call(Method::POST, &path).send().await
    };
    let first = redeem("1-2").await.json();
    assert!(first["redeemed_at"].is_string());
    bench.clock.forward_seconds(10);
    assert_eq!(first["repeated"], false);
    let again = redeem("1-2").await.json();
    assert_eq!(again["repeated"], true);
    assert_eq!(again["redeemed_at"], first["redeemed_at"]);
    for packet in ["1-4", "9-9", "x", "0-1"] {
        assert_eq!(redeem(packet).await.refusal(), (404, "no_such_win".into()));
    }
}

#[tokio::test]
async fn the_csv_holds_everybody_and_runs_no_formula() {
    let bench = Bench::new().await;
    let names = ["=1+1", "+1", "-1", "@SUM(A1)", "a,b", "quo\"te"];
    let equal = json!({"mode": "equal", "amount": 7});
    let mut terms = terms_with("split", equal);
    terms["batches"] = json!(1);
    let id = won_by(&bench, terms, &names).await;
    let answer = bench
        .get(&format!("{CAMPAIGNS}/{id}/winners?format=csv&limit=2"))
        .await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.headers["content-type"], "text/csv; charset=utf-8");
    let text = answer.text();
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), names.len());
    for (row, name) in rows.iter().zip(names) {
        assert!(
            row.iter()
                .all(|cell| !cell.starts_with(['=', '+', '-', '@']))
        );
        assert_eq!(row[2].trim_start_matches('\''), name);
        assert_eq!(&row[3], "7");
    }
}

#[tokio::test]
async fn an_audit_that_finds_a_difference_halts_the_campaign() {
    let bench = Bench::new().await;
    let id = won_by(&bench, terms(), &["bob"]).await;
    let path = format!("{CAMPAIGNS}/{id}/audit");
    let good = bench.get(&path).await.json();
    assert_eq!(good["balanced"], true, "{good}");
    assert_eq!(
        good["packets"],
        json!({"total": 10, "claimed": 1, "unclaimed": 9, "refunded": 0})
    );
    let wrong = bench.amount(&id, 1, 2).await + 1;
    bench.claim(&id, "eve", "1-2", wrong).await;
    let bad = bench.get(&path).await.json();
    assert_eq!(bad["balanced"], false);
    assert_eq!(bad["wrong_amounts"], 1);
    let campaign = bench.get(&format!("{CAMPAIGNS}/{id}")).await.json();
    assert!(
        campaign["halted"].as_str().unwrap().contains("audit"),
        "{campaign}"
    );
    assert_eq!(bench.get(&path).await.json()["balanced"], false);
}

#[tokio::test]
async fn the_queue_and_the_link_are_shown() {
    let bench = Bench::new().await;
    let id = won_by(&bench, terms(), &[]).await;
    let queue = bench.get("/monitor/api/queue").await.json();
    assert_eq!(
        queue,
        json!({"backend": "memory", "visible": 4, "invisible": 0, "exact": true})
    );
    let picture = bench.get(&format!("{CAMPAIGNS}/{id}/qr.svg")).await;
    assert_eq!(picture.headers["content-type"], "image/svg+xml");
    assert!(picture.text().contains("<svg"));
    let expected = qrcode::QrCode::new(format!("{PUBLIC_URL}/webpage?c={id}")).unwrap();
    let drawn = expected.render::<qrcode::render::svg::Color>();
    let mut drawn = drawn;
    assert_eq!(picture.text(), drawn.min_dimensions(256, 256).build());
    for path in ["", "/live", "/winners", "/stats", "/audit", "/qr.svg"] {
        let nobody = format!("{CAMPAIGNS}/no-uuid{path}");
        assert_eq!(
            bench.get(&nobody).await.refusal(),
            (404, "no_such_campaign".into())
        );
    }
}
