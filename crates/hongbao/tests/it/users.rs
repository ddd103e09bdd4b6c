//! Imported users, and logging in by identification code.

use reqwest::Method;
use serde_json::json;

use crate::{
    client::{Client, send, serve},
    sample::{plain, text, with},
    server::Plan,
};

const USERS: &str = "/monitor/api/users";

async fn import(client: &Client, kind: &str, body: &'static str) -> crate::client::Reply {
    let request = client
        .organiser(Method::PUT, USERS)
        .header("Content-Type", kind);
    send(request.body(body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn registered_users_log_in_by_their_codes() {
    let folder = tempfile::tempdir().unwrap();
    let server = Plan::new(folder.path())
        .with("HONGBAO_IDENTITY", "registered")
        .start();
    let client = Client::new(&server);
    import(
        &client,
        "text/csv",
        "code,user,name\r\nc-ming,ming,Xiao Ming\r\nc-hong,hong,\r\n",
    )
    .await
    .expect(200);
    import(
        &client,
        "application/x-ndjson",
        "{\"code\":\"c-bo\",\"user\":\"bo\"}\n",
    )
    .await
    .expect(200);

    let listed = client.read(USERS).await.to_string();
    for user in ["ming", "hong", "bo"] {
        assert!(listed.contains(user), "{user} is not in {listed}");
    }
    assert!(!listed.contains("c-ming"), "codes are never listed");

    let login = |code: &str| {
        send(
            client
                .request(Method::POST, "/account/sessions")
                .json(&json!({"code": code})),
        )
    };
    // A code is compared trimmed and in NFC.
    let ming = login("  c-ming ").await.expect(200);
    assert_eq!(ming["user"], "ming");
    login("c-unknown").await.expect_error(401, "unknown_code");

    let campaign = client
        .create(&with(
            plain(5),
            json!({"rules": {"eligible": "registered"}}),
        ))
        .await;
    client
        .ask(&campaign, &text(&ming["token"]), None)
        .await
        .expect("decided")
        .win();

    send(client.organiser(Method::DELETE, &format!("{USERS}/hong")))
        .await
        .expect(204);
    login("c-hong").await.expect_error(401, "unknown_code");
    let bad = import(&client, "text/csv", "code,user\r\nc-new\r\n").await;
    assert_eq!(bad.status.as_u16(), 400, "{:?}", bad.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn anyone_gets_the_same_user_for_the_same_code() {
    let (_folder, _server, client) = serve();
    let login = |code: &str| {
        send(
            client
                .request(Method::POST, "/account/sessions")
                .json(&json!({"code": code})),
        )
    };
    let first = login("caf\u{e9}").await.expect(200);
    let again = login(" cafe\u{301} ").await.expect(200);
    assert_eq!(first["user"], again["user"], "NFC and trimmed");
    assert!(
        !text(&first["user"]).contains("caf"),
        "the code does not show in the user"
    );
    let other = login("Caf\u{e9}").await.expect(200);
    assert_ne!(first["user"], other["user"]);
    let long = "x".repeat(65);
    for bad in ["", "   ", "a\u{7}b", long.as_str()] {
        let message = login(bad).await.expect_error(400, "invalid_field");
        assert!(message.contains("code"), "{message}");
    }
    login(&"字".repeat(64)).await.expect(200);
}
