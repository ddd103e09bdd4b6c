//! `POST /account/verify` and `POST /account/withdraw`: other services ask who may try, many
//! attempts at once, and give attempts back that could not be decided.
//!
//! On the inner listener only, behind the service key. The verdicts are the same as those of the
//! function call in one process.

use std::{net::IpAddr, sync::Arc};

use async_trait::async_trait;
use axum::{Json as JsonAnswer, extract::State};
use rules::{CampaignId, GrabId, Rejected, UserId, admission::Verdict};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Account,
    admission::Ask,
    asking::{Attempt, Unreached, Verifier},
};
use crate::{
    directory::Current,
    http::{ApiError, Json, json, openapi::ErrorBody},
};

/// The most attempts in one call.
pub const ATTEMPTS_PER_CALL_MAX: usize = 1024;
/// The largest body, in bytes: as many attempts as that, with users of four-byte characters.
pub(super) const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Attempts on one campaign.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct VerifyRequest {
    /// The campaign.
    #[schema(value_type = String, format = "uuid")]
    pub(super) campaign: CampaignId,
    /// 1 to 1024 attempts, decided in this order.
    #[schema(min_items = 1, max_items = 1024)]
    #[serde(deserialize_with = "json::objects")]
    pub(super) attempts: Vec<AttemptToVerify>,
}

/// One attempt.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AttemptToVerify {
    /// Who tries.
    #[schema(value_type = String)]
    pub(super) user: UserId,
    /// The address they try from. It must be one, but no rule of a campaign looks at it.
    #[schema(value_type = String)]
    pub(super) ip: IpAddr,
    /// The tap, where the client named it.
    #[schema(value_type = Option<String>, format = "uuid")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) grab_id: Option<GrabId>,
}

/// The verdicts, in the order of the attempts.
#[derive(Serialize, Deserialize, ToSchema)]
pub(super) struct VerifyAnswer {
    /// One for each attempt.
    pub(super) verdicts: Vec<VerdictAnswer>,
}

/// Whether an attempt may go on.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub(super) enum VerdictAnswer {
    /// It may.
    Admitted,
    /// A rule forbids it.
    Rejected {
        /// `too_frequent`, `discarded`, `blocked` or `not_eligible`.
        #[schema(value_type = String)]
        reason: Rejected,
    },
    /// What replicas remember of this user together cannot be reached, but that of other users
    /// in this call could.
    Undecided,
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
        (status = 503, description = "`unavailable`: nothing was decided", body = ErrorBody),
    )
)]
pub(super) async fn verify(
    State(account): State<Arc<Account>>,
    Json(request): Json<VerifyRequest>,
) -> Result<JsonAnswer<VerifyAnswer>, ApiError> {
    let asks = asks(request.attempts)?;
    let campaign = account.campaign(request.campaign).await?;
    let verdicts = account.decide(&campaign, &asks).await;
    if verdicts.iter().all(Option::is_none) {
        return Err(undecided());
    }
    let verdicts = verdicts.into_iter().map(|verdict| match verdict {
        Some(Verdict::Admitted) => VerdictAnswer::Admitted,
        Some(Verdict::Rejected(reason)) => VerdictAnswer::Rejected { reason },
        None => VerdictAnswer::Undecided,
    });
    Ok(JsonAnswer(VerifyAnswer {
        verdicts: verdicts.collect(),
    }))
}

/// Gives attempts back that were admitted and could not be decided then, so that they do not
/// count. One that is not remembered, or that another tap made, stays as it is.
#[utoipa::path(
    post, path = "/account/withdraw", tag = "account",
    request_body = VerifyRequest,
    security(("service_key" = [])),
    responses(
        (status = 204, description = "Given back"),
        (status = 400, description = "`invalid_field`, `invalid_json`", body = ErrorBody),
        (status = 401, description = "`unauthenticated`", body = ErrorBody),
        (status = 503, description = "`unavailable`: some may not have been given back", body = ErrorBody),
    )
)]
pub(super) async fn withdraw(
    State(account): State<Arc<Account>>,
    Json(request): Json<VerifyRequest>,
) -> Result<http::StatusCode, ApiError> {
    let asks = asks(request.attempts)?;
    match account.gates.withdraw_all(request.campaign, &asks).await {
        Ok(()) => Ok(http::StatusCode::NO_CONTENT),
        Err(error) => {
            tracing::warn!(%error, "attempts could not be given back");
            Err(undecided())
        }
    }
}

fn undecided() -> ApiError {
    ApiError::unavailable("what is remembered of attempts cannot be reached; ask again")
}

/// The attempts of a request, as the gate asks for them.
fn asks(attempts: Vec<AttemptToVerify>) -> Result<Vec<Ask>, ApiError> {
    let number = attempts.len();
    if !(1..=ATTEMPTS_PER_CALL_MAX).contains(&number) {
        let reason = format!("must hold 1 to {ATTEMPTS_PER_CALL_MAX} attempts, not {number}");
        return Err(ApiError::invalid("attempts", reason));
    }
    let ask = |attempt: AttemptToVerify| Ask {
        user: attempt.user,
        grab_id: attempt.grab_id,
    };
    Ok(attempts.into_iter().map(ask).collect())
}

impl Account {
    /// The campaign, from the ledger where this process has not read yet that there is one.
    async fn campaign(&self, id: CampaignId) -> Result<Current, ApiError> {
        if let Some(current) = self.directory.get(id) {
            return Ok(current);
        }
        let campaign = self.ledger.campaign(id).await?;
        let campaign = campaign.ok_or_else(ApiError::no_such_campaign)?;
        Ok(Current::of(campaign, &*self.ledger).await?)
    }

    /// The verdicts, in order; `None` where what is remembered could not be reached.
    async fn decide(&self, current: &Current, asks: &[Ask]) -> Vec<Option<Verdict>> {
        let (id, rules) = (current.campaign.id, &current.rules);
        let now = self.ledger.now();
        let decided = self.gates.admit_all(id, rules, asks, now).await;
        assert_eq!(decided.len(), asks.len(), "one verdict for each attempt");
        let undecided = decided.iter().find_map(|verdict| verdict.as_ref().err());
        if let Some(error) = undecided {
            tracing::warn!(%error, "some attempts could not be decided");
        }
        decided.into_iter().map(Result::ok).collect()
    }
}

/// The account service asked within its own process, where its replicas share what they
/// remember.
#[async_trait]
impl Verifier for Account {
    async fn admit(
        &self,
        campaign: CampaignId,
        attempts: &[Attempt],
    ) -> Result<Vec<Option<Verdict>>, Unreached> {
        let campaign = self.campaign(campaign).await;
        let campaign = campaign.map_err(|error| Unreached(error.message))?;
        let asks: Vec<Ask> = attempts.iter().map(Attempt::ask).collect();
        Ok(self.decide(&campaign, &asks).await)
    }

    async fn withdraw(&self, campaign: CampaignId, attempts: &[Attempt]) -> Result<(), Unreached> {
        let asks: Vec<Ask> = attempts.iter().map(Attempt::ask).collect();
        let withdrawn = self.gates.withdraw_all(campaign, &asks).await;
        withdrawn.map_err(|error| Unreached(error.to_string()))
    }

    async fn ping(&self) -> Result<(), Unreached> {
        let answers = self.gates.ping().await;
        answers.map_err(|error| Unreached(error.to_string()))
    }
}
