//! What an acknowledgement means on the ledger's database, asked again and again: its settings
//! can be changed while we run.
//!
//! Every campaign is about money: its currency is one of ISO 4217. None is made, and none topped
//! up, on a database that may forget a win after it was answered, unless that was allowed.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use http::StatusCode;
use ledger::{Durability, Ledger, LedgerError};
use tokio_util::sync::CancellationToken;

use crate::http::ApiError;

/// How often the settings are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// The durability as it was last looked at.
pub(crate) struct Watched {
    allow_weak: bool,
    latest: Mutex<Option<Durability>>,
}

impl Watched {
    pub(crate) fn new(allow_weak: bool) -> Self {
        Self {
            allow_weak,
            latest: Mutex::default(),
        }
    }

    /// Looks at the settings now; a change is logged.
    pub(crate) async fn look(&self, ledger: &dyn Ledger) -> Result<Durability, LedgerError> {
        let now = ledger.durability().await?;
        let before = {
            let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
            latest.replace(now.clone())
        };
        let weak = if now.weakness.is_some() { 1.0 } else { 0.0 };
        metrics::gauge!("hongbao_ledger_weak").set(weak);
        if before.is_none_or(|before| before != now) {
            match &now.weakness {
                None => tracing::info!(meaning = now.meaning, "durability"),
                Some(weakness) => tracing::warn!(
                    meaning = now.meaning,
                    weakness,
                    allowed = self.allow_weak,
                    "durability: an acknowledged win may be lost"
                ),
            }
        }
        Ok(now)
    }

    /// Looks each minute until `stop`.
    pub(crate) async fn run(&self, ledger: &dyn Ledger, stop: CancellationToken) {
        loop {
            if let Err(error) = self.look(ledger).await {
                tracing::warn!(%error, "could not look at what an acknowledgement means");
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Whether money may be promised on this database.
    ///
    /// # Errors
    /// 409 `weak_durability`, which says why not; 503 when that is not known yet.
    pub(crate) async fn check(&self, ledger: &dyn Ledger) -> Result<(), ApiError> {
        let known = {
            let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
            latest.clone()
        };
        let durability = match known {
            // A weakness may have been mended since: who asks again need not wait a minute.
            Some(strong) if strong.weakness.is_none() => strong,
            _ => self.look(ledger).await?,
        };
        judge(&durability, self.allow_weak)
    }
}

fn judge(durability: &Durability, allow_weak: bool) -> Result<(), ApiError> {
    match &durability.weakness {
        Some(weakness) if !allow_weak => Err(ApiError::new(
            StatusCode::CONFLICT,
            "weak_durability",
            format!(
                "this database may lose wins that were answered: {weakness}; mend that, or set \
                 HONGBAO_ALLOW_WEAK_DURABILITY=true"
            ),
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_needs_a_database_that_forgets_no_win_or_somebody_who_allows_it() {
        let of = |weakness: Option<&str>| Durability {
            meaning: "what it means".into(),
            weakness: weakness.map(Into::into),
        };
        assert!(judge(&of(None), false).is_ok());
        let refused = judge(&of(Some("fsync is off")), false).unwrap_err();
        assert_eq!(
            (refused.status.as_u16(), refused.code),
            (409, "weak_durability")
        );
        assert!(
            refused.message.contains("fsync is off"),
            "{}",
            refused.message
        );
        assert!(judge(&of(Some("fsync is off")), true).is_ok());
    }
}
