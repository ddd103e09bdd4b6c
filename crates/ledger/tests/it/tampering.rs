//! The audit can fail: whoever changes a row behind the ledger's back is found out.

use std::{path::PathBuf, sync::Arc};

use ledger::{
    AuditReport, SqliteLedger,
    conformance::bench::{Bench, Rain, TurnedClock, limit},
};
use rules::Per;

use crate::sqlite::past_the_ledger;

struct Books {
    rain: Rain,
    folder: PathBuf,
    _keep: tempfile::TempDir,
}

async fn books() -> Books {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(TurnedClock::default());
    let ledger = SqliteLedger::open(folder.path(), clock.clone())
        .await
        .unwrap();
    let bench = Bench {
        ledger: Arc::new(ledger),
        clock,
        keep: Box::new(()),
    };
    let mut rain = Rain::plan(&bench, 20, 2, limit(2, Per::Campaign)).await;
    rain.open_wave(1, 4).await;
    for (name, index) in [("ann", 1), ("ann", 2), ("bob", 3)] {
        rain.win(name, index).await;
    }
    rain.balanced().await;
    Books {
        rain,
        folder: folder.path().into(),
        _keep: folder,
    }
}

impl Books {
    async fn tamper(&self, sql: &'static str) -> AuditReport {
        let mut connection = past_the_ledger(&self.folder).await;
        let done = sqlx::query(sql).execute(&mut connection).await.unwrap();
        assert!(done.rows_affected() > 0, "nothing was tampered with: {sql}");
        let report = self.rain.report().await;
        assert!(!report.balanced, "not found out: {sql}");
        assert!(!report.differences.is_empty());
        report
    }
}

#[tokio::test]
async fn a_changed_amount_is_found() {
    let books = books().await;
    let report = books
        .tamper("UPDATE claims SET amount = amount + 1 WHERE idx = 3")
        .await;
    assert_eq!(report.wrong_amounts, 1);
    let words = report.differences.join("\n");
    assert!(words.contains("packet 1-3 was claimed as"), "{words}");
}

#[tokio::test]
async fn amounts_exchanged_without_a_change_of_the_sum_are_found() {
    let books = books().await;
    let report = books
        .tamper(
            "UPDATE claims SET amount = CASE idx WHEN 1 THEN amount + 1 ELSE amount - 1 END \
             WHERE idx IN (1, 2)",
        )
        .await;
    assert_eq!(report.wrong_amounts, 2);
}

#[tokio::test]
async fn a_removed_claim_is_found() {
    let report = books()
        .await
        .tamper("DELETE FROM claims WHERE idx = 1")
        .await;
    assert_eq!(report.packets.claimed, 2);
}

#[tokio::test]
async fn an_invented_claim_is_found() {
    let report = books()
        .await
        .tamper(
            "INSERT INTO claims (campaign_no, wave, idx, claim_id, user, amount, claimed_at, \
             period, ordinal) VALUES (1, 1, 99, zeroblob(16), 'eve', 5, 1, 0, 1)",
        )
        .await;
    assert_eq!(report.wrong_amounts, 1);
    let words = report.differences.join("\n");
    assert!(words.contains("does not exist"), "{words}");
}

#[tokio::test]
async fn a_win_over_the_limit_is_found() {
    let report = books()
        .await
        .tamper("UPDATE claims SET user = 'ann', ordinal = 3 WHERE user = 'bob'")
        .await;
    assert_eq!(report.over_limit, 1);
}

#[tokio::test]
async fn changed_counters_are_found() {
    books()
        .await
        .tamper("UPDATE fence SET claims = claims + 1 WHERE slot = 0")
        .await;
    books()
        .await
        .tamper("UPDATE fence SET amount = amount - 1 WHERE slot = 0")
        .await;
}

#[tokio::test]
async fn a_changed_refund_is_found() {
    let books = books().await;
    books
        .rain
        .ledger
        .close_campaign(books.rain.campaign.id)
        .await
        .unwrap();
    books.rain.balanced().await;
    let report = books.tamper("UPDATE refunds SET amount = amount + 1").await;
    let words = report.differences.join("\n");
    assert!(words.contains("were refunded"), "{words}");
    books.tamper("DELETE FROM refunds").await;
}

#[tokio::test]
async fn an_invented_refund_is_found() {
    books()
        .await
        .tamper("INSERT INTO refunds VALUES (1, 1, 1, 1)")
        .await;
}

#[tokio::test]
async fn another_seed_is_found() {
    books()
        .await
        .tamper("UPDATE campaigns SET seed = zeroblob(32)")
        .await;
}

#[tokio::test]
async fn other_terms_are_found() {
    books()
        .await
        .tamper("UPDATE tranches SET split = replace(split, '2000', '2001')")
        .await;
    books()
        .await
        .tamper("UPDATE waves SET packets = 9 WHERE number = 2")
        .await;
    books()
        .await
        .tamper("UPDATE waves SET first = 1 WHERE number = 1")
        .await;
    books()
        .await
        .tamper("UPDATE waves SET digest = zeroblob(32) WHERE number = 1")
        .await;
}
