//! The way to a database server under TLS: used when the URL says so, with the authority that it
//! names, and never without.

use std::sync::Arc;

use ledger::{
    Ledger as _, OpenError, ServerLedger, SystemClock,
    conformance::bench::{Bench, Rain, TurnedClock},
};
use rules::WinLimit;
use testkit::{Certificate, MariaDb, Postgres};

use crate::servers::open;

/// A rain's claims over `url`; then with another authority than the server's, which is refused.
async fn claims_and_refuses_strangers(url: impl Fn(&Certificate) -> String, its: &Certificate) {
    let clock = Arc::new(TurnedClock::default());
    let ledger = open(&url(its), &clock).await;
    let bench = Bench {
        ledger: Arc::new(ledger.clone()),
        clock,
        keep: Box::new(()),
    };
    let rain = Rain::open(&bench, 2, WinLimit::ONE).await;
    rain.win("ann", 1).await;
    rain.balanced().await;
    let strange = refusal(&url(&Certificate::new())).await;
    assert!(strange.contains("certificate"), "{strange}");
    ledger.close().await;
}

async fn refusal(url: &str) -> String {
    let opened: Result<_, OpenError> = ServerLedger::open(url, Arc::new(SystemClock)).await;
    opened.err().expect("a refusal").to_string()
}

#[tokio::test]
async fn mariadb_under_tls() {
    let certificate = Certificate::new();
    let server = MariaDb::start_with(&[
        &format!("--ssl-cert={}", certificate.server().display()),
        &format!("--ssl-key={}", certificate.key().display()),
        "--require-secure-transport=ON",
    ]);
    let plain = server.database();
    // Its words for a connection that is not encrypted; the same name and password do below.
    let refused = refusal(&plain).await;
    assert!(refused.contains("Access denied"), "{refused}");
    let url = |authority: &Certificate| {
        let how = format!(
            "ssl-mode=VERIFY_IDENTITY&ssl-ca={}",
            authority.authority().display()
        );
        plain.replace("ssl-mode=disabled", &how)
    };
    claims_and_refuses_strangers(url, &certificate).await;
}

#[tokio::test]
async fn postgres_under_tls() {
    let certificate = Certificate::new();
    let server = Postgres::start_with_tls(&certificate);
    let plain = server.database();
    let url = |authority: &Certificate| {
        let how = format!(
            "sslmode=verify-full&sslrootcert={}",
            authority.authority().display()
        );
        plain.replace("sslmode=disable", &how)
    };
    let encrypted = url(&certificate);
    let ledger = ServerLedger::open(&encrypted, Arc::new(SystemClock));
    let ledger = ledger.await.unwrap();
    ledger.ping().await.unwrap();
    let ours = "FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) WHERE usename = 'hongbao'";
    let under_tls = server.sql(&format!("SELECT count(*) {ours} AND s.ssl"));
    assert_ne!(under_tls, "0");
    assert_eq!(
        server.sql(&format!("SELECT count(*) {ours} AND NOT s.ssl")),
        "0"
    );
    ledger.close().await;
    claims_and_refuses_strangers(url, &certificate).await;
}
