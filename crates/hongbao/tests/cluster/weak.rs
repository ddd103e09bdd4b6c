//! A database whose settings let an acknowledged win be lost: no campaign is made on it, with a
//! reason that names the setting, unless the operator says otherwise.

use serde_json::Value;
use testkit::{MariaDb, Postgres};

use crate::{
    client::{Client, Reply},
    sample::plain,
    server::{Plan, Server},
};

/// Nothing is asserted about time by this; it ends a test that would otherwise hang.
const READ_WITHIN: std::time::Duration = std::time::Duration::from_secs(60);
const CAMPAIGNS: &str = "/monitor/api/campaigns";

fn serve(folder: &tempfile::TempDir, database: &str, allow: bool) -> Server {
    let mut plan = Plan::new(folder.path()).with("HONGBAO_DATABASE_URL", database);
    if allow {
        plan = plan.with("HONGBAO_ALLOW_WEAK_DURABILITY", "true");
    }
    plan.try_start().expect("it starts, and says what is weak")
}

async fn create(server: &Server) -> Reply {
    Client::new(server).post(CAMPAIGNS, &plain(3)).await
}

/// Refused on `weak`, which has `setting`; let through when that is allowed, and after `mend`.
async fn refused_until_mended(weak: &str, setting: &str, mend: impl FnOnce()) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = serve(&folder, weak, false);
    let why = create(&server).await.expect_error(409, "weak_durability");
    assert!(why.contains(setting), "{why}");
    let client = Client::new(&server);
    let made: Value = client.read(CAMPAIGNS).await;
    assert_eq!(
        made["campaigns"].as_array().map(Vec::len),
        Some(0),
        "{made}"
    );
    mend();
    create(&server).await.expect(201);
    drop(server);

    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let plan = Plan::new(folder.path()).with("HONGBAO_DATABASE_URL", weak);
    let checked = plan.command(&["check"]).output().expect("the binary runs");
    assert!(checked.status.success(), "mended: {checked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_money_on_a_mariadb_that_forgets() {
    let server = MariaDb::start_with(&["--innodb-flush-log-at-trx-commit=2"]);
    let setting = "innodb_flush_log_at_trx_commit";
    let mend = || drop(server.sql(&format!("SET GLOBAL {setting} = 1")));
    refused_until_mended(&server.database(), setting, mend).await;
    server.sql(&format!("SET GLOBAL {setting} = 0"));
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let allowed = serve(&folder, &server.database(), true);
    create(&allowed).await.expect(201);
    check_says_what_is_weak(&server.database(), setting);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_money_on_a_postgresql_that_forgets() {
    let server = Postgres::start();
    let setting = "synchronous_commit";
    let set = |value| {
        server.sql(&format!("ALTER SYSTEM SET {setting} = {value}"));
        server.sql("SELECT pg_reload_conf()");
        let began = std::time::Instant::now();
        while server.sql(&format!("SHOW {setting}")) != value {
            assert!(began.elapsed() < READ_WITHIN, "{setting} is not {value}");
            std::thread::yield_now();
        }
    };
    set("off");
    check_says_what_is_weak(&server.database(), setting);
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let allowed = serve(&folder, &server.database(), true);
    create(&allowed).await.expect(201);
    drop(allowed);
    refused_until_mended(&server.database(), setting, || set("on")).await;
}

fn check_says_what_is_weak(database: &str, setting: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let plan = Plan::new(folder.path()).with("HONGBAO_DATABASE_URL", database);
    let checked = plan.command(&["check"]).output().expect("the binary runs");
    let said = String::from_utf8_lossy(&checked.stdout);
    assert_eq!(checked.status.code(), Some(78), "{said}");
    assert!(said.contains(setting), "{said}");
}
