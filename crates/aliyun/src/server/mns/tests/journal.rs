//! What is kept on disk.

use std::io::Write as _;

use super::*;

#[tokio::test(start_paused = true)]
async fn what_was_answered_is_there_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let bench = Bench::in_folder(folder.path());
    bench
        .queue("<VisibilityTimeout>60</VisibilityTimeout>")
        .await;
    bench.send_bodies(&["deleted", "held", "visible"]).await;
    let deleted = bench.receive("").await;
    assert_eq!(
        bench.delete(deleted.text("ReceiptHandle")).await.status,
        204
    );
    let held = bench.receive("").await;
    let delayed = "<MessageBody>d</MessageBody><DelaySeconds>9</DelaySeconds>";
    assert_eq!(bench.send(delayed).await.status, 201);
    bench.call("PUT", "/queues/gone", "<Queue/>").await;
    bench.call("DELETE", "/queues/gone", "").await;
    let clock = bench.clock.clone();
    drop(bench);

    // Twice: the second start reads what the first has written anew.
    for _ in 0..2 {
        let mut again = Bench::in_folder(folder.path());
        again.clock = clock.clone();
        assert_eq!(again.counts().await, [1, 1, 1]);
    }
    let mut again = Bench::in_folder(folder.path());
    again.clock = clock;
    assert_eq!(again.call("GET", "/queues/gone", "").await.status, 404);
    assert_eq!(again.receive("").await.text("MessageBody"), "visible");
    assert_eq!(again.delete(held.text("ReceiptHandle")).await.status, 204);
    let spent = again.delete(deleted.text("ReceiptHandle")).await;
    assert_eq!(spent.refused(), (404, "MessageNotExist"));
}

#[tokio::test(start_paused = true)]
async fn a_torn_line_is_left_out_and_a_foreign_file_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let bench = Bench::in_folder(folder.path());
    bench.queue("").await;
    bench.send_bodies(&["a"]).await;
    let settings = bench.server.settings.clone();
    let shared = OfflineMns::new(settings.clone(), bench.clock.clone());
    assert!(shared.is_err(), "another has the folder");
    drop(bench);
    let path = folder.path().join("mns.jsonl");
    let append = |text: &str| {
        let file = std::fs::OpenOptions::new().append(true).open(&path);
        file.and_then(|mut file| file.write_all(text.as_bytes()))
            .expect("a file");
    };
    append("{\"what\":\"gone\",\"queue\":\"q\"");
    let again = Bench::in_folder(folder.path());
    assert_eq!(again.counts().await, [1, 0, 0]);
    let clock = again.clock.clone();
    drop(again);
    append("{}\n");
    assert!(OfflineMns::new(settings, clock).is_err());
}
