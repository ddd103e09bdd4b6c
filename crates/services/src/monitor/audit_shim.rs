//! Stands in until `ledger::audit` is there.
#![expect(missing_docs, reason = "goes away within the hour")]
use ledger::AuditSnapshot;
use serde::Serialize;
#[derive(Serialize)]
pub struct AuditReport {
    pub balanced: bool,
    pub differences: Vec<String>,
}
pub fn audit(_: &AuditSnapshot) -> AuditReport {
    AuditReport {
        balanced: true,
        differences: Vec::new(),
    }
}
