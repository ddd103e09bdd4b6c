//! The winners' list: pages, search, redeeming once, and a CSV that no spreadsheet executes.

use reqwest::Method;
use serde_json::json;

use crate::{
    client::{send, serve},
    sample::{plain, text, token},
};

#[tokio::test(flavor = "multi_thread")]
async fn pages_hold_everybody_once() {
    let (_folder, _server, client) = serve();
    let campaign = client.create(&plain(700)).await;
    for user in 0..700 {
        client.grab(&campaign, &format!("user-{user}")).await.win();
    }
    let winners = client.winners(&campaign).await;
    let users: std::collections::HashSet<_> = winners.iter().map(|w| text(&w["user"])).collect();
    let packets: std::collections::HashSet<_> =
        winners.iter().map(|w| text(&w["packet"])).collect();
    assert_eq!((winners.len(), users.len(), packets.len()), (700, 700, 700));
}

#[tokio::test(flavor = "multi_thread")]
async fn search_by_user_and_by_code() {
    let (_folder, _server, client) = serve();
    let campaign = client.create(&plain(5)).await;
    client.grab(&campaign, "ming").await.win();
    client.grab(&campaign, "hong").await.win();
    let login = send(
        client
            .request(Method::POST, "/account/sessions")
            .json(&json!({"code": "s3cret"})),
    );
    let login = login.await.expect(200);
    let user = text(&login["user"]);
    assert!(
        client
            .ask(&campaign, &text(&login["token"]), None)
            .await
            .is_some()
    );

    let path = format!("/monitor/api/campaigns/{campaign}/winners");
    let names = |body: &serde_json::Value| -> Vec<String> {
        let winners = body["winners"].as_array().expect("a list");
        winners.iter().map(|winner| text(&winner["user"])).collect()
    };
    assert_eq!(
        names(&client.read(&format!("{path}?q=min")).await),
        ["ming"]
    );
    assert_eq!(
        names(&client.read(&format!("{path}?code=s3cret")).await),
        [user]
    );
    assert!(names(&client.read(&format!("{path}?code=another")).await).is_empty());
    let all = client.read(&path).await.to_string();
    assert!(!all.contains("s3cret"), "a code is never listed");
}

#[tokio::test(flavor = "multi_thread")]
async fn redeeming_happens_once() {
    let (_folder, _server, client) = serve();
    let campaign = client.create(&plain(5)).await;
    let (packet, _) = client.grab(&campaign, "ming").await.win();
    let path = format!("/monitor/api/campaigns/{campaign}/winners/{packet}/redeem");
    let first = client.post(&path, &json!({})).await.expect(200);
    let redeemed_at = text(&first["redeemed_at"]);
    let again = client.post(&path, &json!({})).await.expect(200);
    assert_eq!(
        text(&again["redeemed_at"]),
        redeemed_at,
        "a repeat changes nothing"
    );
    let winners = client.winners(&campaign).await;
    assert_eq!(winners[0]["redeemed_at"], redeemed_at);

    let unclaimed = format!("/monitor/api/campaigns/{campaign}/winners/1-5/redeem");
    let reply = client.post(&unclaimed, &json!({})).await;
    assert_eq!(reply.status.as_u16(), 404, "{:?}", reply.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn csv_cells_never_start_a_formula() {
    let (_folder, _server, client) = serve();
    let campaign = client.create(&plain(10)).await;
    let users = [
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        "a,b",
        "quo\"te",
        "=HYPERLINK(\"http://evil\",\"x\")",
    ];
    for user in users {
        let answer = client.ask(&campaign, &token(user), None).await;
        answer.expect("decided").win();
    }
    let path = format!("/monitor/api/campaigns/{campaign}/winners?format=csv");
    let response = client.organiser(Method::GET, &path).send().await.unwrap();
    assert_eq!(response.status().as_u16(), 200);
    let kind = response.headers()["content-type"]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(kind.starts_with("text/csv"), "{kind}");
    let csv = response.text().await.unwrap();
    let rows: Vec<_> = csv.lines().collect();
    assert_eq!(
        rows.len(),
        users.len() + 1,
        "a header and a row each:\n{csv}"
    );
    for row in &rows {
        for cell in cells(row) {
            assert!(
                !cell.starts_with(['=', '+', '-', '@', '\t', '\r']),
                "`{cell}` in\n{csv}"
            );
        }
    }
    for user in users {
        assert!(
            rows.iter().any(|row| cells(row)
                .iter()
                .any(|cell| cell.trim_start_matches('\'') == user)),
            "`{user}` is missing in\n{csv}"
        );
    }
}

/// The cells of one CSV row, unquoted.
fn cells(row: &str) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut quoted = false;
    let mut chars = row.chars().peekable();
    while let Some(c) = chars.next() {
        let cell = cells.last_mut().expect("never empty");
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => cell.extend(chars.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            _ => cell.push(c),
        }
    }
    cells
}
