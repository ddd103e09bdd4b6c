//! A disk without room: nobody wins, which users are told as 503, what is read is answered, and as
//! soon as there is room it rains again.

use std::collections::HashSet;

use reqwest::{Method, StatusCode};
use serde_json::Value;
use testkit::SmallDisk;
use uuid::Uuid;

use crate::{
    client::{Answer, Client, Reply, send},
    sample::{number, plain, text, token},
    server::Plan,
    until::until,
};

async fn grab(client: &Client, campaign: &str, user: &str, tap: Uuid) -> Reply {
    let path = format!("/redpacket/campaigns/{campaign}/grab");
    let grab = client.request(Method::POST, &path).bearer_auth(token(user));
    send(grab.header("Grab-Id", tap.to_string())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn grabs_are_refused_reads_go_on_and_room_mends_it() {
    let disk = SmallDisk::new(4);
    let ballast = disk.ballast(2_048);
    let server = Plan::new(disk.path()).start();
    let client = Client::new(&server);
    let campaign = client.create(&plain(20_000)).await;

    let mut won = HashSet::new();
    let (refused, tap) = loop {
        let (user, tap) = (format!("user-{}", won.len()), Uuid::new_v4());
        let reply = grab(&client, &campaign, &user, tap).await;
        if reply.status == StatusCode::SERVICE_UNAVAILABLE {
            assert!(reply.headers.contains_key("retry-after"), "{reply:?}");
            reply.expect_error(503, "unavailable");
            break (user, tap);
        }
        let answer = reply.expect(200);
        assert_eq!(answer["outcome"], "won", "{answer}");
        won.insert((user, text(&answer["packet"]["id"])));
        assert!(won.len() < 20_000, "the disk never was full");
    };
    println!("full disk: {} had won before", won.len());

    let path = format!("/monitor/api/campaigns/{campaign}");
    for read in ["", "/live", "/audit"] {
        client.read(&format!("{path}{read}")).await;
    }
    let (first, packet) = won.iter().next().expect("somebody won");
    let own = format!("/redpacket/campaigns/{campaign}/wins");
    let own = client.request(Method::GET, &own).bearer_auth(token(first));
    assert_eq!(
        send(own).await.expect(200)["wins"][0]["packet"]["id"],
        **packet
    );
    assert_eq!(kept(&client, &campaign).await, won);

    std::fs::remove_file(ballast).expect("it is there");
    let answer = until("it rains again", async || {
        let answer = client
            .ask(&campaign, &token(&refused), Some((tap, 2)))
            .await?;
        (!answer.missed("not_this_time")).then_some(answer)
    })
    .await;
    let Answer::Won { packet, .. } = answer else {
        panic!("who was refused was promised another try: {answer:?}");
    };
    won.insert((refused, packet));
    assert_eq!(kept(&client, &campaign).await, won);
    let audit = client.audit(&campaign).await;
    assert_eq!(number(&audit["packets"]["claimed"]), won.len() as u64);
}

/// Who has won what, by the books.
async fn kept(client: &Client, campaign: &str) -> HashSet<(String, String)> {
    let winner = |winner: &Value| (text(&winner["user"]), text(&winner["packet"]));
    client.winners(campaign).await.iter().map(winner).collect()
}
