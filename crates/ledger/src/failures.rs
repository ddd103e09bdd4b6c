//! Calls that failed for the database's sake, counted where they are put into the ledger's words.

use crate::LedgerError;

/// Counts a failed call; to have been deposed is none of the database's failures.
pub(crate) fn count(error: &LedgerError) {
    if !matches!(error, LedgerError::Deposed) {
        metrics::counter!("hongbao_ledger_errors_total").increment(1);
    }
}
