//! Services of their own: what they refuse to start on, and that `check` says the same.

use std::process::Output;

use crate::server::Plan;

const DATABASE: (&str, &str) = ("HONGBAO_DATABASE_URL", "mysql://bob:sesame@127.0.0.1:1/d");
const QUEUE: (&str, &str) = ("HONGBAO_QUEUE_URL", "redis://127.0.0.1:1");
const ACCOUNT: (&str, &str) = ("HONGBAO_ACCOUNT_URL", "http://127.0.0.1:1");

/// Runs `hongbao ARGS` with these settings, and without those named in `without`.
fn run(args: &[&str], with: &[(&str, &str)], without: &[&str]) -> (Output, String) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let plan = Plan::new(folder.path());
    let mut command = plan.command(args);
    command.envs(with.iter().copied());
    for name in without {
        command.env_remove(name);
    }
    let output = command
        .output()
        .expect("the binary was built for this test");
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(!said.contains("sesame"), "a password is shown: {said}");
    let made = std::fs::read_dir(&plan.data).map_or(0, Iterator::count);
    assert_eq!(made, 0, "{args:?} has touched its data directory: {said}");
    (output, said)
}

fn refused(args: &[&str], with: &[(&str, &str)], without: &[&str], names: &str) {
    let (output, said) = run(args, with, without);
    assert_eq!(output.status.code(), Some(78), "{args:?}: {said}");
    assert!(
        said.contains(names),
        "{args:?} does not name {names}: {said}"
    );
}

#[test]
fn one_of_several_services_refuses_what_cannot_be_shared() {
    for service in ["account", "redpacket", "monitor"] {
        refused(&[service], &[QUEUE, ACCOUNT], &[], "HONGBAO_DATABASE_URL");
        if service != "account" {
            refused(&[service], &[DATABASE, ACCOUNT], &[], "HONGBAO_QUEUE_URL");
        }
        let sqlite = ("HONGBAO_DATABASE_URL", "sqlite://x");
        refused(&[service], &[sqlite, QUEUE, ACCOUNT], &[], "SQLite");
        let check = ["check", "--for", service];
        refused(&check, &[QUEUE, ACCOUNT], &[], "HONGBAO_DATABASE_URL");
    }
    refused(
        &["redpacket"],
        &[DATABASE, QUEUE],
        &[],
        "HONGBAO_ACCOUNT_URL",
    );
    for variable in ["HONGBAO_QUEUE_URL", "HONGBAO_ATTEMPTS_URL"] {
        let no_port = (variable, "redis://:sesame@h:port");
        let with = [DATABASE, QUEUE, ACCOUNT, no_port];
        refused(&["redpacket"], &with, &[], variable);
    }
    let alone = ("HONGBAO_ATTEMPTS_URL", "memory:");
    refused(&["account"], &[DATABASE, QUEUE, alone], &[], alone.0);
}

#[test]
fn what_cannot_be_understood_is_a_wrong_configuration_and_not_a_failed_start() {
    for (name, value) in [
        ("HONGBAO_LEASE_SECONDS", "abc"),
        ("HONGBAO_LISTEN", "nowhere"),
        ("HONGBAO_PUBLIC_URL", "not a url"),
        ("HONGBAO_TRUSTED_PROXIES", "the balancer"),
        ("HONGBAO_LOG", "a=b=c"),
        ("HONGBAO_PUBLIC_URL", "https://红包.example"),
        ("HONGBAO_CONNECTIONS_MAX", "0"),
        ("HONGBAO_ACCOUNT_URL", "https://account.local"),
        ("HONGBAO_TOKEN_KEYS_FILE", "/nowhere/keys.json"),
        ("DB_NAME", "rain"),
        ("HONGBAO_CONFIG", "/nowhere/hongbao.toml"),
    ] {
        let named = match name {
            "HONGBAO_LEASE_SECONDS" => "--lease-seconds",
            "HONGBAO_LISTEN" => "--listen",
            "HONGBAO_CONFIG" => value,
            name => name,
        };
        for service in ["serve", "check"] {
            refused(&[service], &[(name, value)], &[], named);
        }
    }
    refused(&["webpage", "--colour", "red"], &[], &[], "--colour");
    let (output, said) = run(&["campaign", "lst"], &[], &[]);
    assert_eq!(output.status.code(), Some(2), "a person's slip: {said}");
    let (output, said) = run(&["serve", "--help"], &[], &[]);
    assert_eq!(output.status.code(), Some(0), "{said}");
}

#[test]
fn what_a_template_leaves_empty_is_not_set() {
    let empty = [
        "HONGBAO_PUBLIC_URL",
        "HONGBAO_DATABASE_URL",
        "HONGBAO_QUEUE_URL",
        "HONGBAO_TRUSTED_PROXIES",
        "ACCOUNT_CHECK_IP",
        "DB_HOST",
        "DB_NAME",
        "MNS_URL",
    ];
    let (output, said) = run(&["check"], &empty.map(|name| (name, "")), &[]);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("the first start makes it"), "{said}");
    // But nobody is told an empty secret on purpose.
    let secret = ("HONGBAO_TOKEN_SECRET", "");
    refused(&["check"], &[secret], &[], secret.0);
}

#[test]
fn one_of_several_services_refuses_short_secrets_and_looks_for_missing_ones_in_the_ledger() {
    for (service, secret) in [
        ("account", "HONGBAO_TOKEN_SECRET"),
        ("account", "HONGBAO_SERVICE_KEY"),
        ("redpacket", "HONGBAO_TOKEN_SECRET"),
        ("redpacket", "HONGBAO_SERVICE_KEY"),
        ("monitor", "HONGBAO_TOKEN_SECRET"),
        ("monitor", "HONGBAO_ORGANISER_KEY"),
    ] {
        let told = [DATABASE, QUEUE, ACCOUNT];
        let short = [DATABASE, QUEUE, ACCOUNT, (secret, "short")];
        refused(&[service], &short, &[], secret);
        // Nothing listens there.
        let (output, said) = run(&[service], &told, &[secret]);
        assert!(!output.status.success(), "{said}");
        assert!(said.contains("mysql://bob@127.0.0.1:1/d"), "{said}");
    }
}

#[test]
fn the_mission_s_names_of_the_database_are_taken() {
    let mission = [
        ("DB_HOST", "127.0.0.1"),
        ("DB_PORT", "1"),
        ("DB_NAME", "d"),
        ("DB_USER", "bob"),
        ("DB_PASSWD", "sesame"),
        ("ACCOUNT_CHECK_IP", "127.0.0.1:1"),
        QUEUE,
    ];
    // Nothing listens there: the refusal is about that, and says where.
    let (output, said) = run(&["redpacket"], &mission, &[]);
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("mysql://bob@127.0.0.1:1/d"), "{said}");
    refused(&["monitor"], &[("DB_HOST", "h"), QUEUE], &[], "DB_NAME");
    let twice = [mission[0], mission[2], mission[3], DATABASE, QUEUE];
    refused(&["monitor"], &twice, &[], "DB_HOST");
}

#[test]
fn urls_that_name_nothing_known_are_refused_without_their_password() {
    for service in ["serve", "monitor", "check"] {
        let oracle = ("HONGBAO_DATABASE_URL", "oracle://bob:sesame@h/d");
        refused(&[service], &[oracle, QUEUE], &[], "HONGBAO_DATABASE_URL");
        let kafka = ("HONGBAO_QUEUE_URL", "kafka://bob:sesame@h");
        refused(&[service], &[DATABASE, kafka], &[], "HONGBAO_QUEUE_URL");
    }
}
