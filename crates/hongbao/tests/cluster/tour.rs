//! What a visitor sees of an installation, wherever it runs: the pages, the walk-through, a crowd.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    client::{Client, send},
    cluster::Cluster,
    sample::{number, plain, text},
    until::until,
};

/// Every page and probe answers.
pub(crate) async fn pages(client: &Client) {
    for path in [
        "/webpage",
        "/monitor",
        "/docs",
        "/openapi.json",
        "/redpacket/test",
        "/test",
    ] {
        let page = client.request(Method::GET, path).send().await;
        let page = page.unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!(page.status().as_u16(), 200, "{path}");
    }
}

/// The mission's example, with codes as people enter them; the campaign.
pub(crate) async fn ten_in_three(cluster: &Cluster) -> String {
    let client = cluster.client();
    let campaign = client
        .create(&json!({
            "title": "Ten in three", "packets": 10, "batches": 3, "interval_seconds": 2,
            "currency": "CNY", "split": {"mode": "lucky", "total": 10_000, "min": 1, "max": null},
        }))
        .await;
    cluster.known_everywhere(&campaign).await;
    let grab = format!("/redpacket/campaigns/{campaign}/grab");
    let mut wins = 0;
    for user in 0.. {
        let login = json!({"code": format!("code {user}")});
        let login = client
            .request(Method::POST, "/account/sessions")
            .json(&login);
        let token = text(&send(login).await.expect(200)["token"]);
        let answer: Value = until("a user wins or nothing is left", async || {
            let answer = send(client.request(Method::POST, &grab).bearer_auth(&token)).await;
            let answer = answer.expect(200);
            (answer["outcome"] == "won" || answer["reason"] == "sold_out").then_some(answer)
        })
        .await;
        if answer["outcome"] != "won" {
            break;
        }
        wins += 1;
        let path = format!("/redpacket/campaigns/{campaign}/wins");
        let mine = send(client.request(Method::GET, &path).bearer_auth(&token)).await;
        assert_eq!(mine.expect(200)["wins"][0]["packet"], answer["packet"]);
    }
    assert_eq!(wins, 10);
    let audit = client.audit(&campaign).await;
    assert_eq!(number(&audit["claimed"]), 10_000);
    let live = client
        .read(&format!("/monitor/api/campaigns/{campaign}/live"))
        .await;
    assert_eq!(number(&live["by_outcome"]["won"]), 10);
    campaign
}

/// `hongbao crowd` through HAProxy: it exits 1 when the books do not balance.
pub(crate) async fn crowd(address: String, cluster: &Cluster) {
    let client = cluster.client();
    let campaign = client.create(&plain(500)).await;
    cluster.known_everywhere(&campaign).await;
    let url = format!("http://{address}");
    let mut crowd = std::process::Command::new(crate::server::binary());
    let crowd = crowd
        .args(["crowd", "--url", &url, "--campaign", &campaign])
        .args(["--users", "700", "--rate", "300", "--for", "5"])
        .env("HONGBAO_ORGANISER_KEY", crate::server::ORGANISER_KEY)
        .env("HONGBAO_TOKEN_SECRET", crate::server::TOKEN_SECRET);
    let output = tokio::task::block_in_place(|| crowd.output()).expect("the binary runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}\n{complained}");
    let audit = client.audit(&campaign).await;
    assert_eq!(number(&audit["packets"]["claimed"]), 500, "{said}");
}

/// Sets the first organiser up by the link in the monitor's `log`, and logs in; the cookie.
pub(crate) async fn organiser(log: &str, client: &Client) -> String {
    let token = log.split("token=").nth(1).expect("a link to set up");
    let token: String = token.chars().take_while(char::is_ascii_hexdigit).collect();
    let me = json!({"token": token, "username": "li", "password": "a long pass phrase"});
    let made = send(client.request(Method::POST, "/monitor/api/setup").json(&me)).await;
    assert!(made.status.is_success(), "{made:?}");
    let me = json!({"username": "li", "password": "a long pass phrase"});
    let login = client
        .request(Method::POST, "/monitor/api/sessions")
        .json(&me);
    let login = send(login).await;
    let cookie = login.headers.get("set-cookie").expect("a session");
    let cookie = cookie.to_str().expect("text").split(';').next();
    cookie.expect("a cookie").to_owned()
}
