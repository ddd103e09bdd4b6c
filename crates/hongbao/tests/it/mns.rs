//! The queue on MNS, with only the mission's names set, and the log on SLS: the rain on
//! `hongbao aliyun`, the offline services.

use serde_json::Value;

use crate::{
    client::{Client, send},
    counts,
    sample::{number, plain, text},
    server::{Plan, Server},
    until::until,
};

const KEY: [(&str, &str); 2] = [
    ("ACCESS_KEY_ID", "an-id"),
    ("ACCESS_KEY_SECRET", "sesame-and-more"),
];
const PACKETS: u32 = 60;

fn with_key(plan: Plan) -> Plan {
    KEY.iter()
        .fold(plan, |plan, (name, value)| plan.with(name, value))
}

/// `hongbao aliyun`, in memory, with its log service on the plan's inner port.
fn offline_cloud(plan: &Plan) -> Server {
    let sls = format!("127.0.0.1:{}", plan.inner_port);
    let mns = format!("127.0.0.1:{}", plan.port);
    let args = ["aliyun", "--listen", &mns, "--sls-listen", &sls];
    plan.start_command(plan.command(&args))
}

/// With the log shipped to the offline cloud of `plan`.
fn shipping_to(cloud: &Plan, plan: Plan) -> Plan {
    with_key(plan)
        .with(
            "HONGBAO_SLS_ENDPOINT",
            &format!("http://127.0.0.1:{}", cloud.inner_port),
        )
        .with("HONGBAO_SLS_PROJECT", "rain")
}

/// What the log service says of a campaign, once it agrees with the ledger.
async fn agreed(client: &Client, campaign: &str) -> Value {
    let path = format!("/monitor/api/campaigns/{campaign}/stats/log");
    let said = until("the log agrees with the ledger", async || {
        let said = client.read(&path).await;
        assert_eq!(said["service"], "sls", "{said}");
        (said["agrees"] == true).then_some(said)
    })
    .await;
    assert_eq!(said["difference"], 0, "{said}");
    assert_eq!(said["log"], said["ledger"], "{said}");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rain_runs_on_mns() {
    let (cloud_folder, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let cloud = offline_cloud(&with_key(Plan::new(cloud_folder.path())));
    assert!(
        cloud.log().contains("a development tool"),
        "{}",
        cloud.log()
    );
    assert!(!cloud.log().contains("sesame"), "{}", cloud.log());

    let mns = format!("http://{}", cloud.address);
    let server = with_key(Plan::new(folder.path()).with("MNS_URL", &mns)).start();
    let client = Client::new(&server);
    assert!(
        server.log().contains(&format!("queue: {mns}")),
        "{}",
        server.log()
    );

    let campaign = client.create(&plain(PACKETS)).await;
    for user in 0..PACKETS {
        client.grab(&campaign, &format!("user-{user}")).await.win();
    }
    let late = client.grab(&campaign, "late").await;
    assert!(late.missed("sold_out"), "{late:?}");

    let audit = client.audit(&campaign).await;
    assert_eq!(number(&audit["packets"]["claimed"]), u64::from(PACKETS));
    assert_eq!(number(&audit["claimed"]), u64::from(PACKETS) * 100);
    let queue = client.read("/monitor/api/queue").await;
    assert_eq!(queue["backend"], "mns", "{queue}");
    assert!(server.stop().success());
    assert!(cloud.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_service_counts_what_the_ledger_counts_and_waits_for_its_return() {
    let (cloud_folder, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let kept = cloud_folder.path().join("kept");
    let cloud_plan = with_key(Plan::new(cloud_folder.path()))
        .with("HONGBAO_ALIYUN_DATA_DIR", kept.to_str().unwrap());
    let cloud = offline_cloud(&cloud_plan);
    let plan = shipping_to(&cloud_plan, Plan::new(folder.path()))
        .with("HONGBAO_LOGGED_MISSES_PER_SECOND", "5");
    let check = plan.command(&["check"]).output().expect("it runs");
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(
        check.status.success() && said.contains("the project will be made"),
        "{said}"
    );

    let server = plan.start();
    let log = server.log();
    assert!(
        log.contains("shipped to SLS") && log.contains("rain/redpacket-access"),
        "{log}"
    );
    assert!(!log.contains("sesame"), "{log}");
    let client = Client::new(&server);
    let campaign = client.create(&plain(PACKETS)).await;
    let rain = async |from: u32, to: u32| {
        for user in from..to {
            client.grab(&campaign, &format!("user-{user}")).await;
        }
    };
    rain(0, 100).await;
    let said = agreed(&client, &campaign).await;
    assert_eq!(number(&said["log"]["won"]), u64::from(PACKETS), "{said}");
    assert_eq!(number(&said["log"]["missed"]["sold_out"]), 40, "{said}");
    assert_eq!(text(&said["store"]), "rain/redpacket-access");

    // Away for a while, in which the server ends and another begins: nothing is lost.
    assert!(cloud.stop().success());
    rain(100, 200).await;
    assert!(server.stop().success());
    let batches = || batches(&plan.data).len();
    assert!(batches() > 0, "what could not be shipped is kept");
    let server = plan.start();
    let client = Client::new(&server);
    client.grab(&campaign, "another").await;
    let path = format!("/monitor/api/campaigns/{campaign}/stats/log");
    let away = send(client.organiser(reqwest::Method::GET, &path)).await;
    away.expect_error(503, "unavailable");
    let cloud = offline_cloud(&cloud_plan);
    let said = agreed(&client, &campaign).await;
    assert_eq!(number(&said["log"]["missed"]["sold_out"]), 141, "{said}");
    assert_eq!(client.counter("hongbao_sls_grabs_lost_total").await, 0);
    assert!(client.counter("hongbao_sls_failures_total").await > 0);
    assert!(server.stop().success());
    assert_eq!(batches(), 0, "all is shipped");
    assert!(cloud.stop().success());
}

/// What the log service says of a campaign, once nothing waits for it.
async fn all_shipped(data: &std::path::Path, client: &Client, campaign: &str) -> Value {
    let path = format!("/monitor/api/campaigns/{campaign}/stats/log");
    until("all is shipped", async || {
        // Before what is asked: a file is gone when it is delivered.
        let waits = !batches(data).is_empty();
        let said = send(client.organiser(reqwest::Method::GET, &path)).await;
        (!waits && said.status.is_success()).then_some(said.body)
    })
    .await
}

/// The files of what waits to be shipped.
fn batches(data: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(data.join("sls")).into_iter().flatten();
    let paths = entries.map(|entry| entry.expect("readable").path());
    paths
        .filter(|path| path.extension().is_some_and(|it| it == "lines"))
        .collect()
}

/// How many grabs wait to be shipped.
fn grabs_waiting(data: &std::path::Path) -> u64 {
    let text = |path| std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<Value> = batches(data)
        .into_iter()
        .flat_map(|path| {
            let lines = text(path);
            let lines = lines.lines().map(serde_json::from_str);
            lines.filter_map(Result::ok).collect::<Vec<_>>()
        })
        .collect();
    lines.iter().map(|line| number(&line["weight"])).sum()
}

/// All grabs of a count by outcome.
fn total(counted: &Value) -> u64 {
    match counted {
        Value::Object(parts) => parts.values().map(total).sum(),
        part => number(part),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_loses_no_count_that_was_gathered_and_makes_none_twice() {
    let (cloud_folder, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let kept = cloud_folder.path().join("kept");
    let cloud_plan = with_key(Plan::new(cloud_folder.path()))
        .with("HONGBAO_ALIYUN_DATA_DIR", kept.to_str().unwrap());
    let cloud = offline_cloud(&cloud_plan);
    let plan = shipping_to(&cloud_plan, Plan::new(folder.path()))
        .with("HONGBAO_LOGGED_MISSES_PER_SECOND", "5");
    let mut server = plan.start();
    let client = Client::new(&server);
    let campaign = client.create(&plain(PACKETS)).await;
    let rain = async |client: &Client, from: u32, to: u32| {
        for user in from..to {
            client.grab(&campaign, &format!("user-{user}")).await;
        }
    };
    rain(&client, 0, 50).await;
    assert_eq!(total(&agreed(&client, &campaign).await["log"]), 50);

    // Gathered while there is nobody to ship to, with a sum of misses among it; then a few more,
    // of which the kill may take some.
    assert!(cloud.stop().success());
    rain(&client, 50, 150).await;
    until("what is gathered is in files", async || {
        (grabs_waiting(&plan.data) >= 100).then_some(())
    })
    .await;
    let losses = 150 - u64::from(PACKETS);
    counts::saved(&client, &campaign, losses).await;
    rain(&client, 150, 170).await;
    server.kill();

    let cloud = offline_cloud(&cloud_plan);
    let server = plan.start();
    let client = Client::new(&server);
    let said = all_shipped(&plan.data, &client, &campaign).await;
    println!("150 were gathered, 21 more were answered: {said}");
    let counted = total(&said["log"]);
    assert!((150..=171).contains(&counted), "{said}");
    assert!((150..=171).contains(&total(&said["ledger"])), "{said}");
    assert_eq!(number(&said["log"]["won"]), u64::from(PACKETS), "{said}");
    let audit = client.audit(&campaign).await;
    assert_eq!(number(&audit["packets"]["claimed"]), u64::from(PACKETS));

    // What comes after is counted as before.
    rain(&client, 170, 180).await;
    let said = until("what came after is counted", async || {
        let said = all_shipped(&plan.data, &client, &campaign).await;
        (total(&said["log"]) >= counted + 10).then_some(said)
    })
    .await;
    assert_eq!(total(&said["log"]), counted + 10, "{said}");
    assert!(server.stop().success());
    assert!(cloud.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_log_service_the_statistics_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let server = Plan::new(folder.path()).start();
    let client = Client::new(&server);
    let campaign = client.create(&plain(1)).await;
    let path = format!("/monitor/api/campaigns/{campaign}/stats/log");
    let said = client.read(&path).await;
    assert_eq!(
        (&said["service"], &said["log"]),
        (&Value::Null, &Value::Null)
    );
    let packets = client.read("/monitor/api/packets").await;
    assert_eq!(number(&packets["issued"]), 1, "{packets}");
    assert_eq!(client.read("/monitor/api/queue").await["exact"], true);
    assert!(server.stop().success());
}

#[test]
fn the_offline_cloud_says_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let run = |args: &[&str], id: &str| {
        let mut command = Plan::new(folder.path()).command(args);
        command.env("ACCESS_KEY_ID", id);
        command.env_remove("ACCESS_KEY_SECRET");
        let output = command
            .output()
            .expect("the binary was built for this test");
        let said = [&output.stdout[..], &output.stderr[..]].concat();
        (
            output.status.code(),
            String::from_utf8_lossy(&said).into_owned(),
        )
    };
    let (_, help) = run(&["aliyun", "--help"], "an-id");
    assert!(help.contains("development tool"), "{help}");
    assert!(!help.contains("an-id"), "{help}");
    let (code, said) = run(&["aliyun"], "an-id");
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("ACCESS_KEY_SECRET"), "{said}");
}
