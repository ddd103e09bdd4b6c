//! What an acknowledgement means on a database, read from its settings.

use std::collections::BTreeMap;

use super::{dialect::Dialect, fault::Fail, open::Inner, sql::Conn};
use crate::Durability;

/// Settings by name, as the server tells them, in lower case.
type Settings = BTreeMap<String, String>;

/// See [`crate::Ledger::durability`].
pub(super) async fn probe(inner: &Inner) -> Result<Durability, Fail> {
    // A connection that writes: it is its session's settings that count.
    let mut tx = inner.begin().await?;
    let probed = match tx.dialect() {
        Dialect::MySql => {
            let settings = mysql_settings(&mut tx).await?;
            mysql(&settings)
        }
        Dialect::Postgres => {
            let settings = postgres_settings(&mut tx).await?;
            postgres(&settings)
        }
    };
    tx.rollback().await?;
    Ok(probed)
}

async fn mysql_settings(conn: &mut Conn) -> Result<Settings, Fail> {
    let mut settings = Settings::new();
    let sql = "SHOW VARIABLES WHERE Variable_name IN ('version', 'version_comment', 'log_bin', \
               'innodb_flush_log_at_trx_commit', 'sync_binlog', 'innodb_doublewrite', \
               'rpl_semi_sync_master_wait_point', 'rpl_semi_sync_source_wait_point')";
    collect(&mut settings, conn, sql).await?;
    // Whether a replica really acknowledges: enabled alone may have fallen back.
    let sql = "SHOW STATUS WHERE Variable_name IN ('Rpl_semi_sync_master_status', \
               'Rpl_semi_sync_source_status')";
    collect(&mut settings, conn, sql).await?;
    Ok(settings)
}

async fn postgres_settings(conn: &mut Conn) -> Result<Settings, Fail> {
    let mut settings = Settings::new();
    let sql = "SELECT CAST(name AS text), setting FROM pg_settings WHERE name IN \
               ('server_version', 'fsync', 'synchronous_commit', 'full_page_writes', \
               'synchronous_standby_names')";
    collect(&mut settings, conn, sql).await?;
    Ok(settings)
}

async fn collect(settings: &mut Settings, conn: &mut Conn, sql: &str) -> Result<(), Fail> {
    for row in conn.fetch_all(sql, &[]).await? {
        let (name, value) = (row.text(0)?, row.maybe_text(1)?.unwrap_or_default());
        settings.insert(name.to_ascii_lowercase(), value.to_ascii_lowercase());
    }
    Ok(())
}

fn is(settings: &Settings, name: &str, value: &str) -> bool {
    settings.get(name).is_some_and(|found| found == value)
}

/// A setting that must be one of `right` where the server has it at all; the first is advised.
fn must_be(weak: &mut Vec<String>, settings: &Settings, name: &str, right: &[&str]) {
    if let Some(found) = settings.get(name)
        && !right.contains(&found.as_str())
    {
        weak.push(format!("{name} is {found} and should be {}", right[0]));
    }
}

fn mysql(settings: &Settings) -> Durability {
    let version = settings.get("version").map_or("", String::as_str);
    // TiDB keeps no InnoDB log: a commit is a majority of its replicas, which it does not
    // let a session weaken.
    if version.contains("tidb") {
        return Durability {
            meaning: format!("{version}: an answered win is on a majority of the replicas"),
            weakness: None,
        };
    }
    let mut weak = Vec::new();
    // MariaDB's 3 syncs once more than 1 does; MySQL's other name of `on` says how it recovers.
    let flush = ["1", "3"];
    must_be(
        &mut weak,
        settings,
        "innodb_flush_log_at_trx_commit",
        &flush,
    );
    let doublewrite = ["on", "detect_and_recover"];
    must_be(&mut weak, settings, "innodb_doublewrite", &doublewrite);
    // Without a log for replicas, or with it synced: the log is what recovery goes by.
    if is(settings, "log_bin", "on") {
        must_be(&mut weak, settings, "sync_binlog", &["1"]);
    }
    let replicated = ["rpl_semi_sync_master_status", "rpl_semi_sync_source_status"]
        .iter()
        .any(|name| is(settings, name, "on"));
    // Where the server commits first and waits then, others may see a win, and answer it to a user
    // who asks again, before a replica has it.
    let shown_first = [
        "rpl_semi_sync_master_wait_point",
        "rpl_semi_sync_source_wait_point",
    ]
    .iter()
    .any(|name| is(settings, name, "after_commit"));
    let beyond = match (replicated, shown_first) {
        (true, false) => ", and a replica has received it: it survives the loss of the machine",
        (true, true) => {
            ", and a replica is waited for; but the wait point is AFTER_COMMIT, so that a win that is \
             asked for again may be answered before the replica has it: AFTER_SYNC is better"
        }
        (false, _) => "; no replica is waited for, so that a failover may lose the latest",
    };
    Durability {
        meaning: format!(
            "MySQL or MariaDB ({version}): an answered win has been committed{}{beyond}",
            survives(&weak)
        ),
        weakness: weakness(&weak),
    }
}

fn postgres(settings: &Settings) -> Durability {
    let version = settings.get("server_version").map_or("", String::as_str);
    let mut weak = Vec::new();
    must_be(&mut weak, settings, "fsync", &["on"]);
    must_be(&mut weak, settings, "full_page_writes", &["on"]);
    let commit = settings
        .get("synchronous_commit")
        .map_or("", String::as_str);
    if commit == "off" {
        weak.push("synchronous_commit is off and should be on".into());
    }
    let standbys = settings
        .get("synchronous_standby_names")
        .is_some_and(|names| !names.is_empty());
    let beyond = match (standbys, commit) {
        (true, "on" | "remote_apply") => {
            ", and a standby has written it: it survives the loss of the machine"
        }
        (true, "remote_write") => ", and a standby has received it",
        _ => "; no standby is waited for, so that a failover may lose the latest",
    };
    Durability {
        meaning: format!(
            "PostgreSQL ({version}): an answered win has been committed{}{beyond}",
            survives(&weak)
        ),
        weakness: weakness(&weak),
    }
}

fn survives(weak: &[String]) -> &'static str {
    if weak.is_empty() {
        " and synced to the server's disk"
    } else {
        ", but may not be on the server's disk yet"
    }
}

fn weakness(weak: &[String]) -> Option<String> {
    (!weak.is_empty()).then(|| weak.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        let owned = |(name, value): &(&str, &str)| ((*name).into(), (*value).into());
        pairs.iter().map(owned).collect()
    }

    #[test]
    fn mysql_is_durable_with_its_logs_synced() {
        let flush = "innodb_flush_log_at_trx_commit";
        let durable = [(flush, "1"), ("log_bin", "on"), ("sync_binlog", "1")];
        assert_eq!(mysql(&settings(&durable)).weakness, None);
        let weak = [(flush, "2"), ("log_bin", "on"), ("sync_binlog", "0")];
        let weakness = mysql(&settings(&weak)).weakness.unwrap();
        assert!(weakness.contains(flush) && weakness.contains("sync_binlog"));
        let unlogged = [(flush, "1"), ("log_bin", "off"), ("sync_binlog", "0")];
        assert_eq!(mysql(&settings(&unlogged)).weakness, None);
        let doublewrite = "innodb_doublewrite";
        for strong in ["on", "detect_and_recover"] {
            let strong = settings(&[(flush, "3"), (doublewrite, strong)]);
            assert_eq!(mysql(&strong).weakness, None);
        }
        for weak in ["off", "detect_only"] {
            let weak = settings(&[(flush, "1"), (doublewrite, weak)]);
            assert!(mysql(&weak).weakness.unwrap().contains(doublewrite));
        }
    }

    #[test]
    fn a_replica_that_is_waited_for_too_late_is_told_as_such() {
        let status = ("rpl_semi_sync_source_status", "on");
        let meaning = |point: &str| {
            mysql(&settings(&[
                status,
                ("rpl_semi_sync_source_wait_point", point),
            ]))
            .meaning
        };
        assert!(meaning("after_sync").contains("survives the loss of the machine"));
        assert!(meaning("after_commit").contains("AFTER_SYNC is better"));
        let alone = mysql(&settings(&[(
            "rpl_semi_sync_source_wait_point",
            "after_sync",
        )]));
        assert!(alone.meaning.contains("no replica"));
    }

    #[test]
    fn postgres_is_durable_when_commits_are_synchronous() {
        let on = ("fsync", "on");
        for commit in ["on", "local", "remote_write", "remote_apply"] {
            let durable = settings(&[on, ("synchronous_commit", commit)]);
            assert_eq!(postgres(&durable).weakness, None, "{commit}");
        }
        for weak in [
            [on, ("synchronous_commit", "off")],
            [("fsync", "off"), ("synchronous_commit", "on")],
            [on, ("full_page_writes", "off")],
        ] {
            assert!(postgres(&settings(&weak)).weakness.is_some(), "{weak:?}");
        }
    }
}
