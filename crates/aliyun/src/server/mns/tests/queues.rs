//! Making, changing, listing and removing queues.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_queue_is_made_once() {
    let bench = Bench::new();
    let make = async |attributes: &str| {
        let body = format!("<Queue>{attributes}</Queue>");
        bench.call("PUT", "/queues/q", &body).await
    };
    assert_eq!(make("").await.status, 201);
    assert_eq!(make("").await.status, 204);
    // The default, said aloud.
    assert_eq!(
        make("<VisibilityTimeout>30</VisibilityTimeout>")
            .await
            .status,
        204
    );
    let other = make("<VisibilityTimeout>31</VisibilityTimeout>").await;
    assert_eq!(other.refused(), (409, "QueueAlreadyExist"));
    after(5.0).await;
    let set = "<Queue><VisibilityTimeout>31</VisibilityTimeout></Queue>";
    let target = "/queues/q?metaoverride=true";
    assert_eq!(bench.call("PUT", target, set).await.status, 204);
    let queue = bench.call("GET", "/queues/q", "").await;
    assert_eq!(queue.text("VisibilityTimeout"), "31");
    assert_eq!(queue.text("MessageRetentionPeriod"), "345600");
    assert_eq!(queue.text("CreateTime"), "1795381111");
    assert_eq!(queue.text("LastModifyTime"), "1795381116");
    assert_eq!(queue.root.children.len(), 12);
    for wrong in [
        "<VisibilityTimeout>0</VisibilityTimeout>",
        "<DelaySeconds>x</DelaySeconds>",
    ] {
        assert_eq!(
            make(wrong).await.refused(),
            (400, "InvalidArgument"),
            "{wrong}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_absent_is_told_so_or_removed_already() {
    let bench = Bench::new();
    for (method, target, body) in [
        ("GET", "/queues/q", ""),
        ("GET", "/queues/q/messages?waitseconds=9", ""),
        ("GET", "/queues/q/messages?peekonly=true", ""),
        ("PUT", "/queues/q?metaoverride=true", "<Queue/>"),
        (
            "POST",
            "/queues/q/messages",
            "<Message><MessageBody>b</MessageBody></Message>",
        ),
        ("DELETE", "/queues/q/messages?ReceiptHandle=1-MQ==", ""),
        (
            "PUT",
            "/queues/q/messages?ReceiptHandle=1-MQ==&VisibilityTimeout=1",
            "",
        ),
    ] {
        let answer = bench.call(method, target, body).await;
        assert_eq!(
            answer.refused(),
            (404, "QueueNotExist"),
            "{method} {target}"
        );
    }
    assert_eq!(bench.call("DELETE", "/queues/q", "").await.status, 204);
}

#[tokio::test(start_paused = true)]
async fn queues_are_listed_by_pages_and_prefix() {
    let bench = Bench::new();
    for name in ["b2", "a1", "b1", "b3", "c1"] {
        let target = format!("/queues/{name}");
        assert_eq!(bench.call("PUT", &target, "<Queue/>").await.status, 201);
    }
    let list = async |headers: &[(&'static str, &str)]| {
        let mut request = bench.signed("GET", "/queues", "");
        for (name, value) in headers {
            request
                .headers_mut()
                .insert(*name, value.parse().expect("plain text"));
        }
        let credentials = Credentials::new("id", "secret");
        let now = bench.clock.now();
        let headers = request.headers_mut();
        sign::mns::sign("GET", "/queues", headers, b"", &credentials, now).expect("plain text");
        bench.answer(request).await
    };
    let all = list(&[]).await;
    let urls = ["a1", "b1", "b2", "b3", "c1"].map(|n| format!("http://mns.test/queues/{n}"));
    assert_eq!(all.all("QueueURL"), urls);
    assert_eq!(all.root.child("NextMarker"), None);
    let prefix = ("x-mns-prefix", "b");
    let first = list(&[prefix, ("x-mns-ret-number", "2")]).await;
    assert_eq!(first.all("QueueURL"), urls[1..3]);
    let marker = ("x-mns-marker", first.text("NextMarker"));
    let second = list(&[prefix, ("x-mns-ret-number", "2"), marker]).await;
    assert_eq!(second.all("QueueURL"), urls[3..4]);
    assert_eq!(second.root.child("NextMarker"), None);
    let meta = list(&[prefix, ("x-mns-with-meta", "true")]).await;
    assert_eq!(meta.all("VisibilityTimeout"), ["30"; 3]);
    for wrong in ["0", "1001", "x"] {
        let refused = list(&[("x-mns-ret-number", wrong)]).await;
        assert_eq!(refused.refused(), (400, "InvalidArgument"), "{wrong}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_queue_takes_only_so_many_calls_a_second() {
    let bench = Bench::with(|settings| settings.calls_per_second_max = 3);
    bench.queue("").await;
    bench.send_bodies(&["a", "b"]).await;
    let many = bench.receive("").await;
    assert_eq!(many.refused(), (400, "QpsLimitExceeded"));
    after(1.0).await;
    assert_eq!(bench.receive("").await.status, 200);
}
