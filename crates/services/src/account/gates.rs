//! The gate of one process, whichever memory of attempts it has: its own, or one that all
//! replicas share.

use std::sync::Arc;

use rules::{
    CampaignId, Timestamp,
    admission::{RuleSet, Verdict},
};

use super::{
    admission::{Ask, Gate, SharedGate},
    attempts::AttemptsError,
};

/// Who decides who may try.
#[derive(Clone)]
pub enum Gates {
    /// This process alone.
    Own(Arc<Gate>),
    /// All replicas of the account service, by attempts that they share.
    Shared(Arc<SharedGate>),
}

impl Gates {
    /// See [`SharedGate::admit_all`].
    pub async fn admit_all(
        &self,
        campaign: CampaignId,
        rules: &RuleSet,
        asks: &[Ask],
        now: Timestamp,
    ) -> Vec<Result<Verdict, AttemptsError>> {
        match self {
            Self::Own(gate) => asks
                .iter()
                .map(|ask| Ok(gate.admit(campaign, rules, &ask.user, ask.grab_id, now)))
                .collect(),
            Self::Shared(gate) => gate.admit_all(campaign, rules, asks, now).await,
        }
    }

    /// See [`SharedGate::withdraw_all`].
    ///
    /// # Errors
    /// When the shared attempts do not answer.
    pub async fn withdraw_all(
        &self,
        campaign: CampaignId,
        asks: &[Ask],
    ) -> Result<(), AttemptsError> {
        match self {
            Self::Own(gate) => {
                for ask in asks {
                    gate.withdraw(campaign, &ask.user, ask.grab_id);
                }
                Ok(())
            }
            Self::Shared(gate) => gate.withdraw_all(campaign, asks).await,
        }
    }

    /// Whether what is remembered can be reached, for readiness.
    ///
    /// # Errors
    /// Why it cannot.
    pub async fn ping(&self) -> Result<(), AttemptsError> {
        match self {
            Self::Own(_) => Ok(()),
            Self::Shared(gate) => gate.ping().await,
        }
    }
}
