//! A backup under load, and what is restored from it.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Output,
    sync::{Arc, atomic::Ordering},
};

use serde_json::json;
use tokio::task::block_in_place;

use crate::{
    crash::{
        load::{self, Load},
        random::Random,
    },
    sample::{number, plain, text, with},
    server::Plan,
    until::until,
};

/// The files of a data directory whose server was told no secret.
const SECRETS: [&str; 3] = ["token.secret", "service.key", "organiser.key"];

fn path(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn backup(plan: &Plan, to: &Path) -> Output {
    let mut command = plan.command(&["backup", "--to", path(to)]);
    command.output().expect("the binary is there")
}

fn restore(plan: &Plan, from: &Path) -> Output {
    let mut command = plan.command(&["restore", "--from", path(from)]);
    command.output().expect("the binary is there")
}

fn said(output: &Output) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

fn well(output: &Output) -> String {
    assert!(output.status.success(), "{}", said(output));
    said(output)
}

fn refused(output: &Output, because: &str) {
    let said = said(output);
    assert!(!output.status.success(), "{said}");
    assert!(said.contains(because), "{said}");
}

/// A server that keeps its own secrets.
fn start_untold(plan: &Plan) -> crate::server::Server {
    let mut command = plan.command(&["serve"]);
    for told in ["TOKEN_SECRET", "SERVICE_KEY", "ORGANISER_KEY"] {
        command.env_remove(format!("HONGBAO_{told}"));
    }
    plan.start_command(command)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_load_holds_every_win_that_was_told_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan::new(folder.path());
    let server = plan.start();
    let load = Arc::new(Load::new(&server));
    let lucky = json!({"split": {"mode": "lucky", "total": 2_000_000}});
    let rain = load.rain(1, "rain", &with(plain(20_000), lucky)).await;
    let mut random = Random::new(7);
    let users: Vec<_> = (0..8)
        .map(|worker| {
            let (load, rain) = (load.clone(), rain.clone());
            tokio::spawn(load::win_once(load, rain, worker, random.fork()))
        })
        .collect();

    let mut before = 0;
    let mut told = std::collections::HashMap::new();
    let last = folder.path().join("backup-2");
    for round in 0..3 {
        until("it rains", async || {
            (load.told() >= before + 100).then_some(())
        })
        .await;
        before = load.told();
        told = rain.told.lock().unwrap().clone();
        let to = folder.path().join(format!("backup-{round}"));
        let output = block_in_place(|| backup(&plan, &to));
        assert!(well(&output).contains("1 campaigns, all balanced"));
    }
    let meanwhile = load.told() - before;
    load.stop();
    for user in users {
        user.await.unwrap();
    }
    println!("backup: {before} wins told before it, {meanwhile} while it was made");
    drop(server);

    let elsewhere = tempfile::tempdir().unwrap();
    let plan = Plan::new(elsewhere.path());
    let output = block_in_place(|| restore(&plan, &last));
    assert!(well(&output).contains("1 of them not ended"));
    let server = block_in_place(|| plan.start());
    let restored = Load::new(&server);
    let winners = restored.client.winners(&rain.id).await;
    let kept: std::collections::HashMap<_, _> = winners
        .iter()
        .map(|it| (text(&it["packet"]), number(&it["amount"])))
        .collect();
    for (packet, told) in &told {
        assert_eq!(
            kept.get(packet),
            Some(&told.amount),
            "{packet} was told before"
        );
    }
    let audit = restored.client.audit(&rain.id).await;
    assert_eq!(audit["balanced"], true, "{audit}");
    assert_eq!(number(&audit["packets"]["claimed"]), winners.len() as u64);

    // It goes on from there: a packet is won, and the books still balance.
    let answer = restored.client.grab(&rain.id, "somebody-new").await;
    answer.win();
    let audit = restored.client.audit(&rain.id).await;
    assert_eq!(audit["balanced"], true, "{audit}");
    assert_eq!(
        number(&audit["packets"]["total"]),
        rain.packets.load(Ordering::Relaxed)
    );
    assert_eq!(server.stop().code(), Some(0));
}

#[test]
fn the_secrets_come_along_for_their_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan::new(folder.path());
    let server = start_untold(&plan);
    let kept = folder.path().join("kept");
    let to = kept.join("2026").join("backup");
    well(&backup(&plan, &to));
    drop(server);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for made in [&kept, &kept.join("2026"), &to] {
        assert_eq!(mode(made), 0o700, "{}", made.display());
    }
    let mut names: Vec<_> = fs::read_dir(&to)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "backup.json",
            "hongbao.db",
            "organiser.key",
            "service.key",
            "token.secret"
        ]
    );
    for name in &names {
        assert_eq!(mode(&to.join(name)), 0o600, "{name}");
    }

    let elsewhere = tempfile::tempdir().unwrap();
    let restored = Plan::new(elsewhere.path());
    well(&restore(&restored, &to));
    for name in SECRETS {
        let kept = fs::read(plan.data.join(name)).unwrap();
        assert_eq!(fs::read(restored.data.join(name)).unwrap(), kept, "{name}");
        assert_eq!(mode(&restored.data.join(name)), 0o600, "{name}");
    }
    drop(start_untold(&restored));
    for name in SECRETS {
        let kept = fs::read(plan.data.join(name)).unwrap();
        assert_eq!(fs::read(restored.data.join(name)).unwrap(), kept, "{name}");
    }
}

#[test]
fn nothing_is_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan::new(folder.path());
    drop(plan.start());
    let to = folder.path().join("backup");
    // Told secrets are not in the directory, and it is said which.
    assert!(well(&backup(&plan, &to)).contains("token.secret is not kept there"));
    let manifest = fs::read(to.join("backup.json")).unwrap();
    refused(&backup(&plan, &to), "is there already");
    fs::write(folder.path().join("file"), "x").unwrap();
    refused(
        &backup(&plan, &folder.path().join("file")),
        "is there already",
    );
    refused(&restore(&plan, &to), "is not empty");
    assert_eq!(fs::read(to.join("backup.json")).unwrap(), manifest);
    assert!(!folder.path().join(".backup.unfinished").exists());

    let nothing = Plan::new(&folder.path().join("nothing"));
    fs::create_dir(folder.path().join("nothing")).unwrap();
    let to = folder.path().join("of-nothing");
    refused(&backup(&nothing, &to), "there is no ledger");
    assert!(!to.exists() && !folder.path().join(".of-nothing.unfinished").exists());
}

#[test]
fn what_is_not_whole_is_not_restored() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan::new(folder.path());
    drop(start_untold(&plan));
    let to = folder.path().join("backup");
    well(&backup(&plan, &to));
    let elsewhere = tempfile::tempdir().unwrap();
    let restored = Plan::new(elsewhere.path());

    let secret = fs::read(to.join("token.secret")).unwrap();
    fs::write(to.join("token.secret"), "another").unwrap();
    refused(&restore(&restored, &to), "is not what was backed up");
    // What has come so far is not taken for a data directory.
    let left = restored.try_start().err().expect("a refusal");
    assert!(left.contains("was not finished"), "{left}");
    // Mended, it is begun again in the same place.
    fs::write(to.join("token.secret"), secret).unwrap();
    well(&restore(&restored, &to));
    drop(start_untold(&restored));

    let manifest = fs::read_to_string(to.join("backup.json")).unwrap();
    for (from, into, because) in [
        ("\"format\": 1", "\"format\": 2", "later version"),
        ("\"token.secret\"", "\"../../x\"", "no backup has"),
    ] {
        fs::write(to.join("backup.json"), manifest.replace(from, into)).unwrap();
        let other = Plan::new(&elsewhere.path().join("other"));
        fs::create_dir_all(elsewhere.path().join("other")).unwrap();
        refused(&restore(&other, &to), because);
        assert!(!other.data.exists(), "nothing was begun");
    }
    fs::remove_file(to.join("backup.json")).unwrap();
    refused(&restore(&restored, &to), "is no whole backup");
}
