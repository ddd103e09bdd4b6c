//! What the pages' paths answer, with files made here and without any.

use std::io::Read as _;

use axum::body::Body;
use bytes::Bytes;
use http::Request;
use tower::ServiceExt as _;

use super::{pages::File, *};

const SCRIPT: &str = "static/index-D-3HPl0f.js";

fn built() -> Arc<Pages> {
    let file = |name: &str, content: String, mime: &str| {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, content.as_bytes());
        let digest = digest.as_ref().try_into().unwrap();
        let file = File::new(name, Bytes::from(content), mime, digest);
        (name.to_owned(), file)
    };
    Pages::of([
        file("index.html", "<p>rain</p>".into(), "text/html"),
        file(SCRIPT, "rain(); ".repeat(1000), "text/javascript"),
        file("static/plain.svg", "<svg/>".into(), "image/svg+xml"),
    ])
}

async fn ask(pages: &Arc<Pages>, path: &str, lines: &[(&str, &str)]) -> (Response<()>, Vec<u8>) {
    let readiness = Readiness::expecting(&[]);
    let router = router(pages.clone(), readiness).merge(monitor_pages(pages.clone()));
    let mut request = Request::get(path);
    for (name, value) in lines {
        request = request.header(*name, *value);
    }
    let answer = router.oneshot(request.body(Body::empty()).unwrap()).await;
    let (parts, body) = answer.unwrap().into_parts();
    let body = axum::body::to_bytes(body, 1024 * 1024).await.unwrap();
    (Response::from_parts(parts, ()), body.to_vec())
}

#[tokio::test]
async fn the_page_is_shown_under_its_paths() {
    let pages = built();
    for path in [
        "/webpage",
        "/webpage/",
        "/webpage/018f3c2e-7b5a-7cc0-8000-000000000001",
        "/monitor",
        "/monitor/",
    ] {
        let (response, body) = ask(&pages, path, &[]).await;
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(body, b"<p>rain</p>", "{path}");
        assert_eq!(
            response.headers()["content-type"],
            "text/html; charset=utf-8"
        );
        assert_eq!(response.headers()["cache-control"], "no-cache");
    }
    let (response, body) = ask(&pages, "/webpage/nonsense", &[]).await;
    assert_eq!(response.status(), 404);
    assert_eq!(body, b"<p>rain</p>");
    let (response, _) = ask(&pages, "/", &[]).await;
    assert_eq!(response.status(), 307);
    assert_eq!(response.headers()["location"], "/webpage");
}

#[tokio::test]
async fn files_are_cached_compressed_and_known_again() {
    let pages = built();
    let path = format!("/webpage/{SCRIPT}");
    let (plain, body) = ask(&pages, &path, &[("accept-encoding", "br, gzip;q=0")]).await;
    assert_eq!(body.len(), 8000);
    assert_eq!(
        plain.headers()["content-type"],
        "text/javascript; charset=utf-8"
    );
    assert_eq!(
        plain.headers()["cache-control"],
        "public, max-age=31536000, immutable"
    );
    let (response, gzip) = ask(&pages, &path, &[("accept-encoding", "br, gzip")]).await;
    assert_eq!(response.headers()["content-encoding"], "gzip");
    assert_eq!(response.headers()["vary"], "accept-encoding");
    let mut text = Vec::new();
    let mut decoder = flate2::read::GzDecoder::new(gzip.as_slice());
    decoder.read_to_end(&mut text).unwrap();
    assert_eq!(text, body);
    assert!(gzip.len() < 1000);

    let tag = plain.headers()["etag"].to_str().unwrap();
    let (response, body) = ask(&pages, &path, &[("if-none-match", tag)]).await;
    assert_eq!((response.status().as_u16(), body.len()), (304, 0));
    let (response, _) = ask(&pages, &path, &[("if-none-match", "\"other\"")]).await;
    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn a_file_without_a_digest_in_its_name_is_asked_for_again() {
    let pages = built();
    let (response, body) = ask(&pages, "/monitor/static/plain.svg", &[]).await;
    assert_eq!(body, b"<svg/>");
    assert_eq!(response.headers()["content-type"], "image/svg+xml");
    assert_eq!(response.headers()["cache-control"], "no-cache");
}

#[tokio::test]
async fn nothing_outside_the_table_is_served() {
    let pages = built();
    for path in [
        "/webpage/static/other.js",
        "/webpage/static/../index.html",
        "/webpage/static/%2e%2e/index.html",
        "/webpage/static/..%2f..%2f..%2fetc%2fpasswd",
        "/webpage/static//etc/passwd",
    ] {
        let (response, body) = ask(&pages, path, &[]).await;
        assert_eq!(response.status(), 404, "{path}");
        assert!(!body.starts_with(b"<p>rain"), "{path}");
    }
}

#[tokio::test]
async fn a_binary_without_pages_says_how_to_get_them() {
    let pages = Pages::of([]);
    assert!(!pages.are_built());
    for path in ["/webpage", "/webpage/x", "/monitor"] {
        let (response, body) = ask(&pages, path, &[]).await;
        assert_eq!(response.status(), 503, "{path}");
        assert!(String::from_utf8(body).unwrap().contains("make web"));
    }
    let (response, _) = ask(&pages, "/webpage/test", &[]).await;
    assert_eq!(response.status(), 503);
    let (response, _) = ask(&built(), "/webpage/test", &[]).await;
    assert_eq!(response.status(), 200);
}
