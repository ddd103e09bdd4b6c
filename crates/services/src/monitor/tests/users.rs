//! Imported users.

use http::{Method, StatusCode};
use serde_json::json;

use crate::monitor::testkit::{Answer, Bench, Odd, terms};

const USERS: &str = "/monitor/api/users";

async fn import(bench: &Bench, content_type: &str, body: &str) -> Answer {
    let call = bench.call(Method::PUT, USERS);
    call.body(content_type, body).send().await
}

#[tokio::test]
async fn users_are_imported_listed_changed_and_removed_and_codes_never_come_out() {
    let bench = Bench::new().await;
    let csv = "code,user,name\nc-ming,ming,Xiao Ming\nc-hong,hong,\nc-bo,bo,\n";
    let done = import(&bench, "text/csv; charset=utf-8", csv).await;
    assert_eq!(done.json(), json!({"added": 3, "changed": 0}));
    let again = import(
        &bench,
        "application/x-ndjson",
        "{\"code\":\"c-new\",\"user\":\"bo\"}",
    )
    .await;
    assert_eq!(again.json(), json!({"added": 0, "changed": 1}));

    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = bench.get(&format!("{USERS}?limit=2{cursor}")).await;
        assert!(!page.text().contains("c-"), "{}", page.text());
        let page = page.json();
        assert_eq!(page["total"], 3);
        let users = page["users"].as_array().unwrap().iter();
        seen.extend(users.map(|user| user["user"].as_str().unwrap().to_owned()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, ["bo", "hong", "ming"]);

    let delete = async || {
        bench
            .call(Method::DELETE, &format!("{USERS}/hong"))
            .send()
            .await
    };
    assert_eq!(delete().await.status, StatusCode::NO_CONTENT);
    assert_eq!(delete().await.refusal(), (404, "no_such_user".into()));
}

#[tokio::test]
async fn a_list_with_one_bad_line_changes_nothing() {
    let bench = Bench::new().await;
    let bad = import(&bench, "text/csv", "c1,ming\nc2,\n").await;
    assert_eq!(bad.refusal(), (400, "invalid_field".into()));
    assert!(
        bad.message().contains("`user` in line 2"),
        "{}",
        bad.message()
    );
    let kind = import(&bench, "text/plain", "c1,ming\n").await;
    assert_eq!(kind.refusal(), (415, "unsupported_media_type".into()));
    assert_eq!(bench.get(USERS).await.json()["total"], 0);

    import(&bench, "text/csv", "c1,ming\n").await;
    let taken = import(&bench, "text/csv", "c2,hong\nc1,bo\n").await;
    assert_eq!(taken.refusal(), (409, "code_taken".into()));
    assert!(!taken.message().contains("c1"), "{}", taken.message());
    assert_eq!(bench.get(USERS).await.json()["total"], 1);
}

#[tokio::test]
async fn a_list_that_is_too_large_is_refused_as_such() {
    let bench = Bench::new().await;
    let huge = "x".repeat(20 * 1024 * 1024);
    let answer = import(&bench, "text/csv", &huge).await;
    assert_eq!(answer.refusal(), (413, "too_large".into()));
    let call = bench.call(Method::POST, "/monitor/api/campaigns");
    let answer = call.json(&json!({"title": huge})).send().await;
    assert_eq!(answer.refusal(), (413, "too_large".into()));
}

#[tokio::test]
async fn winners_are_found_by_the_code_they_present() {
    let bench = Bench::odd(Odd {
        registered_only: true,
        ..Odd::default()
    })
    .await;
    import(&bench, "text/csv", "c-ming,ming\nc-hong,hong\n").await;
    let campaign = bench.create(terms()).await;
    let id = campaign["id"].as_str().unwrap();
    for (user, index) in [("ming", 1), ("hong", 2)] {
        let amount = bench.amount(id, 1, index).await;
        bench.claim(id, user, &format!("1-{index}"), amount).await;
    }
    let path = format!("/monitor/api/campaigns/{id}/winners");
    let found = bench.get(&format!("{path}?code=%20c-ming")).await.json();
    assert_eq!(found["winners"].as_array().unwrap().len(), 1);
    assert_eq!(found["winners"][0]["user"], "ming");
    let nobody = bench.get(&format!("{path}?code=c-other")).await.json();
    assert_eq!(nobody, json!({"winners": [], "next_cursor": null}));
    let csv = bench.get(&format!("{path}?code=c-other&format=csv")).await;
    assert_eq!(csv.text().lines().count(), 1);
}
