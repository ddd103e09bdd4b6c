//! The process itself: start, refusal to start, probes, drain.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use reqwest::Method;
use serde_json::json;
use uuid::Uuid;

use crate::{
    client::{Client, send, serve},
    sample::{plain, text, token},
    server::Plan,
    until::until,
};

#[test]
fn port_0_is_told_in_the_listening_line() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan::new(folder.path()).with("HONGBAO_LISTEN", "127.0.0.1:0");
    let server = plan.start();
    let port = server
        .address
        .rsplit(':')
        .next()
        .and_then(|port| port.parse::<u16>().ok());
    assert!(
        port.is_some_and(|port| port > 0),
        "listening at `{}`",
        server.address
    );
    std::net::TcpStream::connect(&server.address).expect("it listens where it says");
}

#[test]
fn a_second_process_on_the_same_data_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan::new(folder.path());
    let _server = plan.start();
    let other = Plan {
        data: plan.data.clone(),
        ..Plan::new(folder.path())
    };
    let refused = other
        .try_start()
        .err()
        .expect("two processes would share one ledger");
    assert!(
        refused.contains("data"),
        "the refusal does not say what is in use: {refused}"
    );
}

#[test]
fn a_port_in_use_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan::new(folder.path());
    let _taken = std::net::TcpListener::bind(("127.0.0.1", plan.port)).unwrap();
    let refused = plan.try_start().err().expect("the port is taken");
    assert!(
        refused.contains(&plan.port.to_string()),
        "which port? {refused}"
    );
}

#[test]
fn short_secrets_are_refused() {
    for name in [
        "HONGBAO_TOKEN_SECRET",
        "HONGBAO_ORGANISER_KEY",
        "HONGBAO_SERVICE_KEY",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let plan = Plan::new(folder.path()).with(name, "31-bytes-are-not-enough-for-key");
        let refused = plan.try_start().err().expect("a short secret");
        assert!(
            refused.contains(name) || refused.contains("32"),
            "{name}: the refusal does not say what is wrong: {refused}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_secrets_are_made_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan::new(folder.path());
    let start = || {
        let mut command = plan.command(&["serve"]);
        for name in ["HONGBAO_TOKEN_SECRET", "HONGBAO_SERVICE_KEY"] {
            command.env_remove(name);
        }
        plan.start_command(command)
    };
    let mut server = start();
    let client = Client::new(&server);
    let campaign = client.create(&plain(3)).await;
    let login = json!({"code": "my code"});
    let login = send(
        client
            .request(Method::POST, "/account/sessions")
            .json(&login),
    )
    .await;
    let mine = text(&login.expect(200)["token"]);
    server.kill();
    let _server = start();
    let path = format!("/redpacket/campaigns/{campaign}/wins");
    let wins = send(client.request(Method::GET, &path).bearer_auth(&mine)).await;
    wins.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_answer_and_metrics_are_on_the_admin_port() {
    let (_folder, _server, client) = serve();
    for path in ["/healthz", "/readyz", "/redpacket/test", "/test"] {
        let reply = send(client.request(Method::GET, path)).await;
        assert_eq!(reply.status.as_u16(), 200, "{path}");
    }
    send(client.request(Method::GET, "/metrics"))
        .await
        .expect(404);
    let campaign = client.create(&plain(1)).await;
    client.grab(&campaign, "ming").await.win();
    assert!(client.counter("hongbao_ledger_calls_total").await > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_answers_what_it_took_and_exits_0() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan::new(folder.path());
    let mut server = plan.start();
    let client = Client::new(&server);
    let campaign = client.create(&plain(100_000)).await;

    let wins = Arc::new(AtomicU64::new(0));
    let workers: Vec<_> = (0..8)
        .map(|worker| {
            let (client, campaign, wins) = (client.clone(), campaign.clone(), wins.clone());
            tokio::spawn(async move {
                let mut won = HashSet::new();
                for n in 0.. {
                    let user = format!("{worker}-{n}");
                    let tap = Some((Uuid::new_v4(), 1));
                    match client.ask_once(&campaign, &token(&user), tap).await {
                        Ok(answer) => {
                            won.insert((user, answer.win().0));
                            wins.fetch_add(1, Ordering::Relaxed);
                        }
                        // Nobody takes it any more: the end of the drain. Whether it was taken all
                        // the same, the books say.
                        Err(why) if why.starts_with("no reply") => break,
                        Err(why) => panic!("{user} was turned away: {why}"),
                    }
                }
                won
            })
        })
        .collect();
    until("it rains", async || {
        (wins.load(Ordering::Relaxed) > 200).then_some(())
    })
    .await;
    server.ask_to_stop();
    let mut won = HashSet::new();
    for worker in workers {
        won.extend(worker.await.unwrap());
    }
    let status = server.wait();
    assert_eq!(status.code(), Some(0), "the drain ended with {status}");

    let _server = plan.start();
    let winners = client.winners(&campaign).await;
    let kept: HashSet<_> = winners
        .iter()
        .map(|winner| (text(&winner["user"]), text(&winner["packet"])))
        .collect();
    let gone: Vec<_> = won.difference(&kept).collect();
    assert!(gone.is_empty(), "told and gone: {gone:?}");
    let untold: Vec<_> = kept.difference(&won).collect();
    assert!(untold.is_empty(), "taken and never answered: {untold:?}");
    client.audit(&campaign).await;
}

#[test]
fn the_probe_of_a_container_says_whether_it_is_ready() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan::new(folder.path());
    let probe = |args: &[&str]| {
        let args = [&["health"], args].concat();
        let output = plan.command(&args).output().expect("the binary runs");
        output.status.code()
    };
    assert_eq!(probe(&[]), Some(1), "nobody is there");
    let _server = plan.start();
    assert_eq!(probe(&[]), Some(0));
    assert_eq!(probe(&["--path", "/healthz"]), Some(0));
    assert_eq!(probe(&["--path", "/nowhere"]), Some(1));
}
