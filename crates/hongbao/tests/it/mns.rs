//! The queue on MNS, with only the mission's names set: the rain on `hongbao aliyun`, the offline
//! service.

use crate::{
    client::Client,
    sample::{number, plain},
    server::{Plan, Server, free_port},
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

/// `hongbao aliyun`, in memory.
fn offline_cloud(plan: &Plan) -> Server {
    let sls = format!("127.0.0.1:{}", free_port());
    let mns = format!("127.0.0.1:{}", plan.port);
    let args = ["aliyun", "--listen", &mns, "--sls-listen", &sls];
    plan.start_command(plan.command(&args))
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
            output.status.success(),
            String::from_utf8_lossy(&said).into_owned(),
        )
    };
    let (_, help) = run(&["aliyun", "--help"], "an-id");
    assert!(help.contains("development tool"), "{help}");
    assert!(!help.contains("an-id"), "{help}");
    let (started, said) = run(&["aliyun"], "an-id");
    assert!(!started && said.contains("ACCESS_KEY_SECRET"), "{said}");
}
