//! Visibility, handles, delay, retention, priority, long polls and batches.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_received_message_comes_back_at_its_time_with_another_handle() {
    let bench = Bench::new();
    bench
        .queue("<VisibilityTimeout>10</VisibilityTimeout>")
        .await;
    bench.send_bodies(&["a"]).await;
    let first = bench.receive("waitseconds=0").await;
    assert_eq!(first.text("DequeueCount"), "1");
    assert_eq!(bench.counts().await, [0, 1, 0]);
    after(9.9).await;
    let none = bench.receive("waitseconds=0").await;
    assert_eq!(none.refused(), (404, "MessageNotExist"));
    after(0.1).await;
    // Over, although nobody else has it.
    let late = bench.delete(first.text("ReceiptHandle")).await;
    assert_eq!(late.refused(), (404, "MessageNotExist"));
    let second = bench.receive("waitseconds=0").await;
    assert_eq!(second.text("DequeueCount"), "2");
    assert_eq!(
        second.text("FirstDequeueTime"),
        first.text("FirstDequeueTime")
    );
    assert_eq!(second.text("MessageId"), first.text("MessageId"));
    assert_ne!(second.text("ReceiptHandle"), first.text("ReceiptHandle"));
    assert_eq!(bench.delete(second.text("ReceiptHandle")).await.status, 204);
    let again = bench.delete(second.text("ReceiptHandle")).await;
    assert_eq!(again.refused(), (404, "MessageNotExist"));
    assert_eq!(bench.counts().await, [0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_change_of_visibility_spends_the_handle() {
    let bench = Bench::new();
    bench.queue("").await;
    bench.send_bodies(&["a"]).await;
    let held = bench.receive("").await;
    let changed = bench.change(held.text("ReceiptHandle"), 60).await;
    assert_eq!(changed.status, 200);
    let spent = bench.change(held.text("ReceiptHandle"), 1).await;
    assert_eq!(spent.refused(), (404, "MessageNotExist"));
    after(59.0).await;
    assert_eq!(bench.counts().await, [0, 1, 0]);
    // Zero shows it at once, and is no receive.
    let shown = bench.change(changed.text("ReceiptHandle"), 0).await;
    assert_eq!(shown.status, 200, "{shown:?}");
    assert_eq!(bench.counts().await, [1, 0, 0]);
    assert_eq!(bench.receive("").await.text("DequeueCount"), "2");
    let nonsense = bench.change("nonsense", 1).await;
    assert_eq!(nonsense.refused(), (400, "ReceiptHandleError"));
    let long = bench.change(changed.text("ReceiptHandle"), 43_201).await;
    assert_eq!(long.refused(), (400, "InvalidArgument"));
}

#[tokio::test(start_paused = true)]
async fn delay_and_retention_count_from_the_send() {
    let bench = Bench::new();
    bench
        .queue("<DelaySeconds>5</DelaySeconds><MessageRetentionPeriod>60</MessageRetentionPeriod>")
        .await;
    bench.send_bodies(&["queue's delay"]).await;
    let now = bench
        .send("<MessageBody>now</MessageBody><DelaySeconds>0</DelaySeconds>")
        .await;
    assert_eq!(now.root.child("ReceiptHandle"), None);
    assert_eq!(bench.counts().await, [1, 0, 1]);
    let later = bench
        .send("<MessageBody>x</MessageBody><DelaySeconds>9</DelaySeconds>")
        .await;
    // Who sent it can take it back while it is delayed.
    assert_eq!(bench.delete(later.text("ReceiptHandle")).await.status, 204);
    let peeked = bench.receive("peekonly=true").await;
    assert_eq!(peeked.text("MessageBody"), "now");
    assert_eq!(peeked.text("FirstDequeueTime"), peeked.text("EnqueueTime"));
    assert_eq!(peeked.root.child("ReceiptHandle"), None);
    assert_eq!(peeked.root.child("NextVisibleTime"), None);
    after(5.0).await;
    assert_eq!(bench.counts().await, [2, 0, 0]);
    after(50.0).await;
    let held = bench.receive("numOfMessages=16").await;
    assert_eq!(held.all("MessageBody"), ["queue's delay", "now"]);
    after(5.0).await;
    // A minute is over, whoever holds them.
    assert_eq!(bench.counts().await, [0, 0, 0]);
    let gone = bench.delete(held.all("ReceiptHandle")[0]).await;
    assert_eq!(gone.refused(), (404, "MessageNotExist"));
}

#[tokio::test(start_paused = true)]
async fn the_urgent_and_then_the_oldest_come_first() {
    let bench = Bench::new();
    bench.queue("").await;
    for (body, priority) in [("low", 16), ("usual", 8), ("urgent", 1), ("urgent too", 1)] {
        let inside = format!("<MessageBody>{body}</MessageBody><Priority>{priority}</Priority>");
        assert_eq!(bench.send(&inside).await.status, 201);
    }
    bench.send_bodies(&["as usual"]).await;
    let all = bench.receive("numOfMessages=16").await;
    let order = ["urgent", "urgent too", "usual", "as usual", "low"];
    assert_eq!(all.all("MessageBody"), order);
    for wrong in ["0", "17", "x"] {
        let inside = format!("<MessageBody>b</MessageBody><Priority>{wrong}</Priority>");
        let refused = bench.send(&inside).await;
        assert_eq!(refused.refused(), (400, "InvalidArgument"), "{wrong}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_woken_by_a_message_or_by_its_return() {
    let bench = Arc::new(Bench::new());
    bench
        .queue("<VisibilityTimeout>3</VisibilityTimeout>")
        .await;
    let wait = |query: &'static str| {
        let (bench, begun) = (bench.clone(), Instant::now());
        tokio::spawn(async move {
            let answer = bench.receive(query).await;
            (answer.status, begun.elapsed().as_millis())
        })
    };
    let waiting = wait("waitseconds=30");
    after(1.0).await;
    bench.send_bodies(&["a"]).await;
    assert_eq!(waiting.await.expect("no panic"), (200, 1_000));
    // The message comes back three seconds after its receipt.
    assert_eq!(
        wait("waitseconds=30").await.expect("no panic"),
        (200, 3_000)
    );
    assert_eq!(wait("waitseconds=2").await.expect("no panic"), (404, 2_000));
    // The queue's own wait, for those who do not say.
    let body = "<Queue><PollingWaitSeconds>2</PollingWaitSeconds></Queue>";
    let set = bench.call("PUT", "/queues/q?metaoverride=true", body).await;
    assert_eq!(set.status, 204);
    assert_eq!(wait("").await.expect("no panic"), (200, 1_000));
    assert_eq!(wait("").await.expect("no panic"), (404, 2_000));
    assert_eq!(wait("waitseconds=0").await.expect("no panic").1, 0);
    // Those who wait for a queue that is dropped learn it.
    let waiting = wait("waitseconds=30");
    after(0.5).await;
    bench.call("DELETE", "/queues/q", "").await;
    assert_eq!(waiting.await.expect("no panic"), (404, 500));
}

#[tokio::test(start_paused = true)]
async fn who_waits_while_the_queue_is_made_anew_is_woken_by_its_messages() {
    let bench = Arc::new(Bench::new());
    bench.queue("").await;
    let (waiter, begun) = (bench.clone(), Instant::now());
    let waiting = tokio::spawn(async move {
        let answer = waiter.receive("waitseconds=30").await;
        (answer.status, begun.elapsed().as_millis())
    });
    after(1.0).await;
    // Nobody else runs between these two: the waiter never sees that there was no queue.
    bench.call("DELETE", "/queues/q", "").await;
    bench.queue("").await;
    after(1.0).await;
    bench.send_bodies(&["a"]).await;
    assert_eq!(waiting.await.expect("no panic"), (200, 2_000));
}

#[tokio::test(start_paused = true)]
async fn too_many_who_wait_are_answered_at_once() {
    let bench = Arc::new(Bench::with(|settings| settings.long_polls_max = 1));
    bench.queue("").await;
    let waiter = bench.clone();
    let waiting = tokio::spawn(async move { waiter.receive("waitseconds=30").await.status });
    after(0.1).await;
    let begun = Instant::now();
    assert_eq!(bench.receive("waitseconds=30").await.status, 404);
    assert_eq!(begun.elapsed(), Duration::ZERO);
    bench.send_bodies(&["a"]).await;
    assert_eq!(waiting.await.expect("no panic"), 200);
}

#[tokio::test(start_paused = true)]
async fn a_batch_fails_in_part_or_as_a_whole() {
    let bench = Bench::new();
    bench
        .queue("<MaximumMessageSize>1024</MaximumMessageSize>")
        .await;
    let batch = async |bodies: &[String]| {
        let message =
            |body: &String| format!("<Message><MessageBody>{body}</MessageBody></Message>");
        let messages: String = bodies.iter().map(message).collect();
        let body = format!("<Messages>{messages}</Messages>");
        bench.call("POST", "/queues/q/messages", &body).await
    };
    let (short, long) = ("s".to_owned(), "l".repeat(1_025));
    let part = batch(&[short.clone(), long.clone(), short.clone()]).await;
    assert_eq!(part.status, 500);
    assert_eq!(part.all("MessageId").len(), 2);
    assert_eq!(part.all("ErrorCode"), ["InvalidArgument"]);
    assert_eq!(part.root.children[1].children.len(), 2);
    assert_eq!(bench.counts().await, [2, 0, 0]);
    let alone = bench
        .send(&format!("<MessageBody>{long}</MessageBody>"))
        .await;
    assert_eq!(alone.refused(), (400, "InvalidArgument"));
    assert_eq!(
        batch(&vec![short.clone(); 17]).await.refused(),
        (400, "InvalidArgument")
    );
    assert_eq!(batch(&[]).await.refused(), (400, "InvalidArgument"));

    let set = "<Queue><MaximumMessageSize>65536</MaximumMessageSize></Queue>";
    bench.call("PUT", "/queues/q?metaoverride=true", set).await;
    let (half, more) = ("h".repeat(32_768), "m".repeat(32_769));
    assert_eq!(
        batch(&[half.clone(), more]).await.refused(),
        (400, "InvalidArgument")
    );
    assert_eq!(batch(&[half.clone(), half]).await.status, 201);

    let held = bench.receive("numOfMessages=2").await;
    let [one, other] = held.all("ReceiptHandle")[..] else {
        panic!("{held:?}")
    };
    let handles = |handles: &[&str]| {
        let handle = |handle: &&str| format!("<ReceiptHandle>{handle}</ReceiptHandle>");
        let handles: String = handles.iter().map(handle).collect();
        format!("<ReceiptHandles>{handles}</ReceiptHandles>")
    };
    // One of the service's own is well-formed, and of no message here.
    let elsewhere = "1-ODU4OTkzNDU5My0xNDQ1OTk4Mjc5LTEtOA==";
    let body = handles(&[one, "nonsense", one, elsewhere, other]);
    let part = bench.call("DELETE", "/queues/q/messages", &body).await;
    assert_eq!(part.status, 404);
    assert_eq!(
        part.all("ErrorCode"),
        ["ReceiptHandleError", "MessageNotExist", "MessageNotExist"]
    );
    assert_eq!(part.all("ReceiptHandle"), ["nonsense", one, elsewhere]);
    assert_eq!(bench.counts().await, [2, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn handles_do_not_fit_another_queue_of_the_same_name() {
    let bench = Bench::new();
    bench.queue("").await;
    bench.send_bodies(&["a"]).await;
    let former = bench.receive("").await;
    assert_eq!(bench.call("DELETE", "/queues/q", "").await.status, 204);
    bench.queue("").await;
    bench.send_bodies(&["b"]).await;
    assert_eq!(bench.receive("").await.text("MessageBody"), "b");
    let wrong = bench.delete(former.text("ReceiptHandle")).await;
    assert_eq!(wrong.refused(), (404, "MessageNotExist"));
}

#[tokio::test(start_paused = true)]
async fn properties_of_a_message_come_out_as_they_went_in() {
    let bench = Bench::new();
    bench.queue("").await;
    let properties = "<UserProperties><PropertyValue><Name>n</Name><Value>&lt;</Value>\
         </PropertyValue></UserProperties>";
    let inside = format!("<MessageBody>b</MessageBody>{properties}<Unknown>u</Unknown>");
    assert_eq!(bench.send(&inside).await.status, 201);
    let got = bench.receive("").await;
    let sent = Element::parse(properties.as_bytes()).expect("well-formed");
    assert_eq!(got.root.child("UserProperties"), Some(&sent));
    assert_eq!(got.root.child("Unknown"), None);
}
