//! Who may call, and with what.

use super::*;

#[tokio::test(start_paused = true)]
async fn only_who_signs_is_answered() {
    let bench = Bench::new();
    bench.queue("").await;
    let with = async |change: fn(&mut http::HeaderMap)| {
        let mut request = bench.signed("GET", "/queues/q", "");
        change(request.headers_mut());
        let answer = bench.answer(request).await;
        (answer.status, answer.code().to_owned())
    };
    let refused = |status: u16, code: &str| (status, code.to_owned());
    assert_eq!(with(|_| {}).await, refused(200, ""));
    let expected = refused(400, "MissingAuthorizationHeader");
    assert_eq!(with(|h| drop(h.remove("authorization"))).await, expected);
    let expected = refused(400, "InvalidAuthorizationHeader");
    assert_eq!(
        with(|h| drop(h.insert("authorization", "LOG a:b".parse().unwrap()))).await,
        expected
    );
    let expected = refused(403, "InvalidAccessKeyId");
    assert_eq!(
        with(|h| drop(h.insert("authorization", "MNS you:b".parse().unwrap()))).await,
        expected
    );
    let expected = refused(403, "SignatureDoesNotMatch");
    assert_eq!(
        with(|h| drop(h.insert("authorization", "MNS id:b".parse().unwrap()))).await,
        expected
    );
    assert_eq!(
        with(|h| drop(h.insert("x-mns-more", "1".parse().unwrap()))).await,
        expected
    );
    let expected = refused(400, "MissingDateHeader");
    assert_eq!(with(|h| drop(h.remove("date"))).await, expected);
    let expected = refused(400, "InvalidDateHeader");
    assert_eq!(
        with(|h| drop(h.insert("date", "today".parse().unwrap()))).await,
        expected
    );
    let expected = refused(400, "MissingVersionHeader");
    assert_eq!(with(|h| drop(h.remove("x-mns-version"))).await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_request_is_late_after_a_quarter_of_an_hour() {
    let bench = Bench::new();
    bench.queue("").await;
    let early = bench.signed("GET", "/queues/q", "");
    after(15.0 * 60.0).await;
    let head = early.headers().clone();
    assert_eq!(bench.answer(early).await.status, 200);
    after(1.0).await;
    let mut late = Request::get("/queues/q")
        .body(Bytes::new())
        .expect("a request");
    *late.headers_mut() = head;
    let late = bench.answer(late).await;
    assert_eq!(late.refused(), (408, "TimeExpired"));
}

#[tokio::test(start_paused = true)]
async fn a_body_is_checked_against_its_digest() {
    let bench = Bench::new();
    bench.queue("").await;
    let body = "<Message><MessageBody>b</MessageBody></Message>";
    let mut request = bench.signed("POST", "/queues/q/messages", body);
    *request.body_mut() = Bytes::from(body.replace('b', "c"));
    assert_eq!(
        bench.answer(request).await.refused(),
        (400, "InvalidDegist")
    );
}

#[tokio::test(start_paused = true)]
async fn a_lent_key_comes_with_its_token() {
    let lent = Credentials::new("id", "secret").with_security_token("token");
    let bench = Bench::with(|settings| settings.keys = vec![lent]);
    let without = bench.call("GET", "/queues", "").await;
    assert_eq!(without.refused(), (403, "AccessDenied"));
    let mut request = bench.signed("GET", "/queues", "");
    request
        .headers_mut()
        .insert("security-token", "token".parse().unwrap());
    assert_eq!(bench.answer(request).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_token_is_no_obstacle_where_none_is_known() {
    let bench = Bench::new();
    let mut request = bench.signed("GET", "/queues", "");
    let token = "of an SDK that lent a key".parse().unwrap();
    request.headers_mut().insert("security-token", token);
    assert_eq!(bench.answer(request).await.status, 200);
}

/// Asserts the status and the code of each answer; an empty code means no refusal.
async fn answered(bench: &Bench, cases: &[(&str, &str, &str, u16, &str)]) {
    for (method, target, body, status, code) in cases {
        let answer = bench.call(method, target, body).await;
        assert_eq!(
            answer.refused(),
            (*status, *code),
            "{method} {target} {body}"
        );
    }
}

const MESSAGE: &str = "<Message><MessageBody>b</MessageBody></Message>";

#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_names_and_bodies_is_named_by_its_code() {
    let bench = Bench::new();
    bench.queue("").await;
    let too_long = format!("/queues/{}", "q".repeat(121));
    let longest = format!("/queues/{}", "q".repeat(120));
    let messages = "/queues/q/messages";
    let cases = [
        (
            "PUT",
            too_long.as_str(),
            "<Queue/>",
            400,
            "QueueNameLengthError",
        ),
        ("PUT", &longest, "<Queue/>", 201, ""),
        ("PUT", "/queues/-q", "<Queue/>", 400, "InvalidQueueName"),
        ("PUT", "/queues/a_b", "<Queue/>", 400, "InvalidQueueName"),
        ("PUT", "/queues/p", "<Queue", 400, "MalformedXML"),
        ("PUT", "/queues/p", "<Message/>", 400, "MalformedXML"),
        ("POST", messages, "", 400, "MalformedXML"),
        ("POST", messages, "<Message/>", 400, "MalformedXML"),
        ("POST", messages, MESSAGE, 201, ""),
    ];
    answered(&bench, &cases).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_targets_is_named_by_its_code() {
    let bench = Bench::new();
    bench.queue("").await;
    let messages = "/queues/q/messages";
    let with = |query: &str| format!("{messages}?{query}");
    let (handle, no_handle) = (with("ReceiptHandle=1-MQ=="), with("ReceiptHandle=1-"));
    let garbage = with("ReceiptHandle=garbage");
    // `1-1795381118-9-10-8`: the form of a handle, of a message that there is not.
    let of_nothing = with("ReceiptHandle=1-MS0xNzk1MzgxMTE4LTktMTAtOA==");
    // Of other queues than ours: as the service gives them (`8589934593-1445998279-1-8`), and as
    // they were recorded (`e15c2ea179a94ce08877`).
    let of_the_service = with("ReceiptHandle=1-ODU4OTkzNDU5My0xNDQ1OTk4Mjc5LTEtOA==");
    let recorded = with("ReceiptHandle=1-ZTE1YzJlYTE3OWE5NGNlMDg4Nzc=");
    let waits = [with("waitseconds=31"), with("waitseconds=-1")];
    let numbers = [with("numOfMessages=17"), with("numOfMessages=0")];
    let cases = [
        ("POST", "/queues/q", MESSAGE, 400, "InvalidRequestURL"),
        (
            "POST",
            "/queues/q/letters",
            MESSAGE,
            400,
            "InvalidRequestURL",
        ),
        ("GET", "/topics/q", "", 400, "InvalidRequestURL"),
        ("DELETE", "/queues", "", 400, "InvalidRequestURL"),
        ("DELETE", messages, "", 400, "MissingReceiptHandle"),
        ("PUT", messages, "", 400, "MissingReceiptHandle"),
        ("PUT", &handle, "", 400, "MissingVisibilityTimeout"),
        ("DELETE", &handle, "", 400, "ReceiptHandleError"),
        ("DELETE", &no_handle, "", 400, "ReceiptHandleError"),
        ("DELETE", &of_nothing, "", 404, "MessageNotExist"),
        ("DELETE", &of_the_service, "", 404, "MessageNotExist"),
        ("DELETE", &recorded, "", 404, "MessageNotExist"),
        ("DELETE", &garbage, "", 400, "ReceiptHandleError"),
        ("GET", &waits[0], "", 400, "InvalidArgument"),
        ("GET", &waits[1], "", 400, "InvalidArgument"),
        ("GET", &numbers[0], "", 400, "InvalidArgument"),
        ("GET", &numbers[1], "", 400, "InvalidArgument"),
    ];
    answered(&bench, &cases).await;
}

#[tokio::test(start_paused = true)]
async fn handles_serve_escaped_or_not_and_names_in_any_case() {
    let bench = Bench::new();
    bench.queue("").await;
    bench.send_bodies(&["a", "b"]).await;
    let held = bench.receive("NUMOFMESSAGES=16").await;
    let [one, other] = held.all("ReceiptHandle")[..] else {
        panic!("{held:?}")
    };
    let escaped = one.replace('=', "%3D");
    let target = format!("/queues/q/messages?receiptHandle={escaped}&visibilityTimeout=9");
    assert_eq!(bench.call("PUT", &target, "").await.status, 200);
    assert_eq!(bench.delete(other).await.status, 204);
    // As through a proxy.
    let mut request = bench.signed("GET", "/queues/q", "");
    *request.uri_mut() = "http://mns.proxied/queues/q".parse().expect("a URL");
    assert_eq!(bench.answer(request).await.status, 200);
}
