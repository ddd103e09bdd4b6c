//! TLS to Redis. Whom to trust comes from the environment (`SSL_CERT_FILE`), so the test runs
//! itself again as a child that has it there.

use std::{path::Path, process::Command};

use queue::{Queue as _, RedisQueue};
use testkit::Redis;

/// Set for the child only.
const URL: &str = "HONGBAO_TEST_REDIS_URL";

/// A certificate for 127.0.0.1 that is its own authority, and its key.
fn make_certificate(folder: &Path) {
    let made = Command::new("openssl")
        .current_dir(folder)
        .args([
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
        ])
        .args(["-keyout", "key.pem", "-out", "cert.pem"])
        .args(["-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .output()
        .expect("openssl is there; `scripts/setup.sh test` installs it");
    let said = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_spoken_with_whom_is_trusted_only() {
    if let Ok(url) = std::env::var(URL) {
        let queue = RedisQueue::open(&url).expect("the URL is right");
        return queue.ping().await.expect("it answers");
    }
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    make_certificate(folder.path());
    let of = |name: &str| folder.path().join(name).display().to_string();
    let port = testkit::server::free_port();
    let _redis = Redis::start_with(&[
        ("tls-port", &port.to_string()),
        ("tls-cert-file", &of("cert.pem")),
        ("tls-key-file", &of("key.pem")),
        ("tls-auth-clients", "no"),
    ]);
    let child = |trusted: &str| {
        Command::new(std::env::current_exe().expect("it runs"))
            .args(["--exact", "tls::tls_is_spoken_with_whom_is_trusted_only"])
            .env(URL, format!("rediss://localhost:{port}"))
            .env("SSL_CERT_FILE", trusted)
            .output()
            .expect("it can run again")
    };
    let trusting = child(&of("cert.pem"));
    let said = String::from_utf8_lossy(&trusting.stdout);
    assert!(trusting.status.success(), "{said}");
    let others = tempfile::tempdir().expect("a temporary folder can be made");
    make_certificate(others.path());
    let other = others.path().join("cert.pem").display().to_string();
    assert!(!child(&other).status.success(), "trusted a stranger");
}
