//! `POST /account/verify`: other services ask who may try, many attempts at once.
//!
//! On the inner listener only, behind the service key. The verdicts are the same as those of the
//! function call in one process.

use std::{net::IpAddr, sync::Arc};

use axum::{Json as JsonAnswer, extract::State};
use ledger::Campaign;
use moka::{policy::EvictionPolicy, sync::Cache};
use rules::{
    CampaignId, GrabId, Rejected, UserId,
    admission::{RuleSet, Verdict},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Account;
use crate::http::{ApiError, Json, openapi::ErrorBody};

/// The most attempts in one call.
pub const ATTEMPTS_PER_CALL_MAX: usize = 1024;
/// The largest body, in bytes: as many attempts as that, with users of four-byte characters.
pub(super) const BODY_BYTES_MAX: usize = 1024 * 1024;
/// The most campaigns whose rules are kept compiled.
const RULE_SETS_MAX: u64 = 256;

/// Attempts on one campaign.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct VerifyRequest {
    /// The campaign.
    #[schema(value_type = String, format = "uuid")]
    campaign: CampaignId,
    /// 1 to 1024 attempts, decided in this order.
    #[schema(min_items = 1, max_items = 1024)]
    attempts: Vec<AttemptToVerify>,
}

/// One attempt.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AttemptToVerify {
    /// Who tries.
    #[schema(value_type = String)]
    user: UserId,
    /// The address they try from.
    #[schema(value_type = String)]
    #[expect(
        dead_code,
        reason = "it must be an address, but no rule of a campaign looks at it"
    )]
    ip: IpAddr,
    /// The tap, where the client named it.
    #[schema(value_type = Option<String>, format = "uuid")]
    grab_id: Option<GrabId>,
}

/// The verdicts, in the order of the attempts.
#[derive(Serialize, ToSchema)]
pub(super) struct VerifyAnswer {
    /// One for each attempt.
    verdicts: Vec<VerdictAnswer>,
}

/// Whether an attempt may go on.
#[derive(Serialize, ToSchema)]
#[serde(tag = "verdict", rename_all = "snake_case")]
enum VerdictAnswer {
    /// It may.
    Admitted,
    /// A rule forbids it.
    Rejected {
        /// `too_frequent`, `discarded`, `blocked` or `not_eligible`.
        #[schema(value_type = String)]
        reason: Rejected,
    },
}

/// Says which of these attempts may go on, and uses up their attempt windows.
#[utoipa::path(
    post, path = "/account/verify", tag = "account",
    request_body = VerifyRequest,
    security(("service_key" = [])),
    responses(
        (status = 200, description = "Decided", body = VerifyAnswer),
        (status = 400, description = "`invalid_field`, `invalid_json`", body = ErrorBody),
        (status = 401, description = "`unauthenticated`", body = ErrorBody),
        (status = 404, description = "`no_such_campaign`", body = ErrorBody),
    )
)]
pub(super) async fn verify(
    State(account): State<Arc<Account>>,
    Json(request): Json<VerifyRequest>,
) -> Result<JsonAnswer<VerifyAnswer>, ApiError> {
    let number = request.attempts.len();
    if !(1..=ATTEMPTS_PER_CALL_MAX).contains(&number) {
        let reason = format!("must hold 1 to {ATTEMPTS_PER_CALL_MAX} attempts, not {number}");
        return Err(ApiError::invalid("attempts", reason));
    }
    let campaign = account.directory.get(request.campaign);
    let campaign = campaign.ok_or_else(ApiError::no_such_campaign)?;
    let rules = account.rule_sets.of(&campaign);
    let now = account.ledger.now();
    let decide = |attempt: &AttemptToVerify| {
        let verdict = account
            .gate
            .admit(campaign.id, &rules, &attempt.user, attempt.grab_id, now);
        match verdict {
            Verdict::Admitted => VerdictAnswer::Admitted,
            Verdict::Rejected(reason) => VerdictAnswer::Rejected { reason },
        }
    };
    Ok(JsonAnswer(VerifyAnswer {
        verdicts: request.attempts.iter().map(decide).collect(),
    }))
}

/// Compiled rules by campaign, compiled again when the campaign has changed.
pub(super) struct RuleSets {
    compiled: Cache<CampaignId, (i64, Arc<RuleSet>)>,
}

impl RuleSets {
    pub(super) fn new() -> Self {
        let compiled = Cache::builder()
            .max_capacity(RULE_SETS_MAX)
            .eviction_policy(EvictionPolicy::lru())
            .build();
        Self { compiled }
    }

    fn of(&self, campaign: &Campaign) -> Arc<RuleSet> {
        match self.compiled.get(&campaign.id) {
            Some((version, rules)) if version == campaign.version => rules,
            _ => {
                let rules = Arc::new(RuleSet::new(&campaign.rules));
                let kept = (campaign.version, rules.clone());
                self.compiled.insert(campaign.id, kept);
                rules
            }
        }
    }
}
