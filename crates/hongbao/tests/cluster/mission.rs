//! The four services with only the mission's names set, on MariaDB and the offline cloud.

use std::process::Command;

use reqwest::{Method, StatusCode};
use serde_json::json;
use testkit::MariaDb;

use crate::{
    client::{Client, send},
    sample::{number, plain, text},
    server::{Plan, Server, binary, free_port},
    tour,
    until::Wait,
};

const PACKETS: u32 = 40;
const KEY: [(&str, &str); 2] = [
    ("ACCESS_KEY_ID", "an-id"),
    ("ACCESS_KEY_SECRET", "sesame-and-more"),
];

/// Starts `hongbao ROLE` with `env` and nothing else but where it is to listen.
fn start(role: &str, plan: &Plan, env: &[(&'static str, String)]) -> Server {
    let folder = plan.data.parent().expect("the data directory has a parent");
    let mut command = Command::new(binary());
    command
        .arg(role)
        .current_dir(folder)
        .env_clear()
        .env("HONGBAO_LISTEN", format!("127.0.0.1:{}", plan.port))
        .env(
            "HONGBAO_ADMIN_LISTEN",
            format!("127.0.0.1:{}", plan.admin_port),
        )
        .envs(env.iter().map(|(name, value)| (name, value)));
    if role == "account" {
        let inner = format!("127.0.0.1:{}", plan.inner_port);
        command.env("HONGBAO_INNER_LISTEN", inner);
    }
    plan.start_command(command)
}

/// The mission's names and their values: a database of its own, and the queue at `mns`.
fn names(mns: &str, account: &str) -> Vec<(&'static str, String)> {
    let database = MariaDb::shared().database();
    let database: reqwest::Url = database.parse().expect("a URL");
    let password = percent_decoded(database.password().unwrap_or_default());
    let names = [
        ("DB_HOST", database.host_str().expect("a host")),
        ("DB_PORT", &database.port().expect("a port").to_string()),
        ("DB_NAME", database.path().trim_start_matches('/')),
        ("DB_USER", database.username()),
        ("DB_PASSWD", &password),
        ("ACCOUNT_CHECK_IP", account),
        ("MNS_URL", mns),
        KEY[0],
        KEY[1],
    ];
    names.map(|(name, value)| (name, value.to_owned())).into()
}

/// Starts all at the same time: who comes first makes what all of them share.
fn start_all(roles: &[&str], plans: &[Plan], env: &[(&'static str, String)]) -> Vec<Server> {
    std::thread::scope(|scope| {
        let starting = roles.iter().zip(plans);
        let starting = starting.map(|(role, plan)| scope.spawn(|| start(role, plan, env)));
        let starting: Vec<_> = starting.collect();
        let started = starting.into_iter();
        started.map(|one| one.join().expect("it starts")).collect()
    })
}

/// Logs in at one service and grabs at another, until it is decided; whether it won.
async fn wins(account: &Server, node: &Server, campaign: &str, code: &str) -> bool {
    let login = Client::new(account).request(Method::POST, "/account/sessions");
    let login = send(login.json(&json!({"code": code}))).await.expect(200);
    let token = text(&login["token"]);
    let path = format!("/redpacket/campaigns/{campaign}/grab");
    let wait = Wait::begin("a grab is decided");
    loop {
        let grab = Client::new(node).request(Method::POST, &path);
        let reply = send(grab.bearer_auth(&token)).await;
        // A replica learns of a campaign within a second, and packets move to who asks.
        let reason = &reply.body["reason"];
        let later = reply.status == StatusCode::NOT_FOUND
            || reason == "not_started"
            || reason == "not_this_time";
        if !later {
            return reply.expect(200)["outcome"] == "won";
        }
        wait.again().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mission_s_names_are_enough_for_four_services() {
    let folders: Vec<_> = (0..6).map(|_| tempfile::tempdir().unwrap()).collect();
    let plans: Vec<_> = folders.iter().map(|f| Plan::new(f.path())).collect();
    let plan = KEY.iter().fold(plans[0].clone(), |plan, (name, value)| {
        plan.with(name, value)
    });
    let (mns, sls) = (plan.port, free_port());
    let [mns, sls] = [mns, sls].map(|port| format!("127.0.0.1:{port}"));
    let cloud = ["aliyun", "--listen", &mns, "--sls-listen", &sls];
    let cloud = plan.start_command(plan.command(&cloud));
    let account = format!("127.0.0.1:{}", plans[1].inner_port);
    let env = names(&format!("http://{}", cloud.address), &account);
    let roles = ["account", "redpacket", "monitor", "webpage", "redpacket"];
    let servers = start_all(&roles, &plans[1..], &env);
    let [account, redpacket, monitor, webpage, other] = &servers[..] else {
        panic!("five were started");
    };
    let page = Client::new(webpage).request(Method::GET, "/webpage");
    assert_eq!(page.send().await.unwrap().status(), StatusCode::OK);

    let client = Client::new(monitor);
    let cookie = tour::organiser(&monitor.log(), &client).await;
    let mut terms = plain(PACKETS);
    terms["rules"] = json!({"attempt_window_seconds": 3_600});
    let origin = format!("http://{}", monitor.address);
    let create = client.request(Method::POST, "/monitor/api/campaigns");
    let create = create.header("Cookie", &cookie).header("Origin", &origin);
    let campaign = text(&send(create.json(&terms)).await.expect(201)["id"]);
    let mut won = 0;
    for user in 0..PACKETS + 5 {
        let node = [redpacket, other][user as usize % 2];
        won += u32::from(wins(account, node, &campaign, &format!("code-{user}")).await);
    }
    assert_eq!(won, PACKETS);

    let audit = format!("/monitor/api/campaigns/{campaign}/audit");
    let audit = client
        .request(Method::GET, &audit)
        .header("Cookie", &cookie);
    let audit = send(audit).await.expect(200);
    assert_eq!(audit["balanced"], true, "{audit}");
    assert_eq!(number(&audit["packets"]["claimed"]), u64::from(PACKETS));
    for server in servers {
        assert!(!server.log().contains("sesame"), "{}", server.log());
        assert!(server.stop().success());
    }
}

/// What `hongbao ARGS` says and ends with, told what `plan` and `env` tell.
fn ended(args: &[&str], plan: &Plan, env: &[(&'static str, String)]) -> (Option<i32>, String) {
    let mut command = plan.command(args);
    let env = env.iter().map(|(name, value)| (name, value));
    let output = command.envs(env).output().expect("the binary runs");
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn one_redpacket_ships_the_log_from_a_data_directory() {
    let folders: Vec<_> = (0..2).map(|_| tempfile::tempdir().unwrap()).collect();
    let plans: Vec<_> = folders.iter().map(|f| Plan::new(f.path())).collect();
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let mut env = names(&nobody, "127.0.0.1");
    env.push(("HONGBAO_SLS_ENDPOINT", nobody.clone()));
    env.push(("HONGBAO_SLS_PROJECT", "rain".to_owned()));
    // What it stands on need not be there: it starts, and is not ready.
    let mut command = plans[0].command(&["redpacket"]);
    command.envs(env.iter().map(|(name, value)| (name, value)));
    let first = plans[0].start_command(command);

    // Another, on ports of its own.
    let mut second = plans[1].clone();
    second.data.clone_from(&plans[0].data);
    let shared = plans[0].data.join("sls");
    let (code, said) = ended(&["redpacket"], &second, &env);
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("another process ships from"), "{said}");
    assert!(said.contains(shared.to_str().unwrap()), "{said}");
    assert!(!said.contains("sesame"), "{said}");
    // In a data directory of its own it starts.
    second.data.clone_from(&plans[1].data);
    let mut command = second.command(&["redpacket"]);
    command.envs(env.iter().map(|(name, value)| (name, value)));
    assert!(second.start_command(command).stop().success());
    assert!(first.stop().success());
}

#[test]
fn a_secret_that_is_too_short_is_refused_wherever_it_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan::new(folder.path());
    let env = names("http://127.0.0.1:9", "127.0.0.1");
    let database = &env[2].1;
    let told = |args: &[&str]| {
        let mut command = plan.command(args);
        command.env_remove("HONGBAO_TOKEN_SECRET");
        command.env_remove("HONGBAO_SERVICE_KEY");
        command.envs(env.iter().map(|(name, value)| (name, value)));
        command
    };
    let checked = || {
        let mut command = told(&["check", "--for", "account"]);
        let output = command.output().expect("the binary runs");
        let said = [&output.stdout[..], &output.stderr[..]].concat();
        (
            output.status.code(),
            String::from_utf8_lossy(&said).into_owned(),
        )
    };
    // Nothing is made by looking.
    for _ in 0..2 {
        let (code, said) = checked();
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("has no tables"), "{said}");
    }
    let account = plan.start_command(told(&["account"]));
    assert!(account.stop().success());
    let (code, said) = checked();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("the secrets are there"), "{said}");
    MariaDb::shared().sql(&format!(
        "UPDATE `{database}`.secrets SET value = 'sesame' WHERE name = 'HONGBAO_TOKEN_SECRET'"
    ));
    let (code, said) = checked();
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("HONGBAO_TOKEN_SECRET has 6 bytes"), "{said}");
    assert!(said.contains("secrets"), "{said}");
    assert!(!said.contains("sesame"), "{said}");
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let two = [rest.next().expect("a digit"), rest.next().expect("a digit")];
            let two = std::str::from_utf8(&two).expect("digits");
            bytes.push(u8::from_str_radix(two, 16).expect("a number"));
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).expect("text")
}
