//! `POST /redpacket/campaigns/{id}/grab`: the one hot path, from the headers to the answer.
//!
//! [`decide`] names the steps in the order of the contract; each is a function below it. Until
//! a packet is taken nothing here touches the ledger, the queue or another service, but for the
//! account's rules, and for one look into the ledger before any "no": that of a repeated tap, and
//! of any tap on a campaign that ended so long ago that its wins are not in memory. What needs no
//! wait at all, nearly every grab of a rain, is [`at_once`]. `short_lane` calls the same steps in
//! front of hyper; what it does not take comes to [`grab()`].

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::{
    Extension,
    extract::{Path, State},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response};
use ledger::{CampaignNo, ClaimAsk};
use rules::{
    CampaignId, ClaimId, Missed, Rejected, Timestamp, UserId, WinLimit, admission::Verdict,
};
use tokio::time::Instant;

use super::{
    Redpacket,
    committer::{Claim, Claimed},
    courier::Reply,
    outcome::{Answer, Unanswered, respond},
    rain::{Rain, View},
    stock::Patience,
    tap::Tap,
    winners::{self, Known},
};
use crate::{
    account::{asking::Attempt, identity},
    http::{ApiError, ClientIp},
};

/// The contract says 3 s; what is left is for the way back.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_millis(2_800);

/// Who asks for what, and when.
pub(super) struct Ask<'a> {
    pub(super) user: &'a UserId,
    pub(super) tap: Tap,
    /// Where it came from.
    pub(super) ip: IpAddr,
    /// Ledger time.
    pub(super) now: Timestamp,
    pub(super) deadline: Instant,
}

impl Ask<'_> {
    /// The attempt as the account service knows it.
    fn attempt(&self) -> Attempt {
        Attempt {
            user: self.user.clone(),
            grab_id: self.tap.id,
            ip: self.ip,
        }
    }
}

/// Answers a grab of campaign `id` (as it stands in the path).
///
/// # Errors
/// 401, 404, 400 for headers that make no sense, 503 when the claim could not be decided.
pub async fn grab(
    node: &Redpacket,
    id: &str,
    headers: &HeaderMap,
    ip: IpAddr,
) -> Result<Response<Bytes>, ApiError> {
    let started = Instant::now();
    let now = node.ledger.now();
    let user = authenticate(node, headers, now)?;
    let rain = find_campaign(node, id)?;
    let tap = Tap::read(|name| headers.get_all(name).iter().map(HeaderValue::as_bytes))?;
    let ask = Ask {
        user: &user,
        tap,
        ip,
        now,
        deadline: started + ANSWER_WITHIN,
    };
    let unanswered = Unanswered::begin(node, &rain, &ask, started);
    let answer = decide(node, &rain, &ask).await;
    unanswered.answered(&answer);
    respond(&rain, &answer)
}

/// The steps of a grab, in the order of the contract: the first that applies answers.
async fn decide(node: &Redpacket, rain: &Arc<Rain>, ask: &Ask<'_>) -> Answer {
    let known = at_once(rain, &rain.view(), ask);
    match known {
        Some(answer) => answer,
        None => decide_waiting(node, rain, ask).await,
    }
}

/// As [`decide`], when [`at_once`] did not tell.
pub(super) async fn decide_waiting(node: &Redpacket, rain: &Arc<Rain>, ask: &Ask<'_>) -> Answer {
    if let Some(answer) = own_win(node, rain, ask).await {
        return answer;
    }
    let mut patience = Patience::default();
    let no = match rule_out(node, rain, ask, &mut patience).await {
        Some(no) => no,
        None => take_and_claim(node, rain, ask, &mut patience).await,
    };
    match no {
        // Another tap of the same user may have won since the first look.
        Answer::Missed(_) | Answer::Rejected(_) => won_meanwhile(rain, ask).await.unwrap_or(no),
        Answer::Won(_) | Answer::Repeated(_) | Answer::Unavailable => no,
    }
}

/// The answer that needs no wait and no backend: the same win again, or what time and stock rule
/// out. `None` when it takes more to tell: a repeated tap, a claim under way, packets to be won.
pub(super) fn at_once(rain: &Rain, view: &View, ask: &Ask<'_>) -> Option<Answer> {
    if ask.tap.attempt > 1 || !rain.wins_loaded() {
        return None;
    }
    // In this order: whoever saw the last packet claimed sees the win that claimed it.
    let no = if view.campaign.halted.is_some() {
        None
    } else {
        schedule(view, ask.now).or_else(|| all_claimed(rain, view))
    };
    if rain.winners.is_under_way(ask.user) {
        return None;
    }
    known_win(rain, view, ask).or(no.map(Answer::Missed))
}

/// Why this ask cannot win, if time, an audit, stock or a rule forbids it.
async fn rule_out(
    node: &Redpacket,
    rain: &Rain,
    ask: &Ask<'_>,
    patience: &mut Patience,
) -> Option<Answer> {
    if let Some(reason) = schedule(&rain.view(), ask.now) {
        return Some(Answer::Missed(reason));
    }
    if rain.view().campaign.halted.is_some() {
        return Some(Answer::Unavailable);
    }
    if let Some(reason) = stock(rain, patience).await {
        return Some(Answer::Missed(reason));
    }
    match account_rules(node, rain, ask).await {
        Some(Verdict::Admitted) => None,
        Some(Verdict::Rejected(reason)) => Some(Answer::Rejected(reason)),
        None => Some(Answer::Unavailable),
    }
}

/// Step 1: who asks. 401 when nobody can tell.
fn authenticate(node: &Redpacket, headers: &HeaderMap, now: Timestamp) -> Result<UserId, ApiError> {
    identity::participant(headers, &Method::POST, &node.tokens, &node.origins, now)
}

/// Step 2: for which campaign. 404 when there is none.
fn find_campaign(node: &Redpacket, id: &str) -> Result<Arc<Rain>, ApiError> {
    let id: CampaignId = id.parse().map_err(|_| ApiError::no_such_campaign())?;
    node.rain(id).ok_or_else(ApiError::no_such_campaign)
}

/// Step 3: the same win again, or the limit. A claim of the user that is under way is waited
/// for, and a repeated tap looks into the ledger, so that no win is ever hidden by a "no".
async fn own_win(node: &Redpacket, rain: &Rain, ask: &Ask<'_>) -> Option<Answer> {
    let (no, closed) = {
        let campaign = &rain.view().campaign;
        (campaign.no, campaign.closed_at.is_some())
    };
    if !rain.wins_loaded() {
        if closed {
            return old_win(node, rain, no, ask).await;
        }
        let load = tokio::time::timeout_at(ask.deadline, node.load_wins(rain));
        if !matches!(load.await, Ok(Ok(()))) {
            return Some(Answer::Unavailable);
        }
    }
    if let Some(answer) = won_meanwhile(rain, ask).await {
        return Some(answer);
    }
    if ask.tap.attempt == 1 && rain.wins_loaded() {
        return None;
    }
    let look = node.looks.wins(no, ask.user.clone());
    let Ok(Some(wins)) = tokio::time::timeout_at(ask.deadline, look).await else {
        return Some(Answer::Unavailable);
    };
    for win in &wins {
        rain.winners.record(ask.user, win);
    }
    won_meanwhile(rain, ask).await
}

/// The same for a campaign that has ended and whose wins are not in memory, or no more: they are
/// looked up, and not kept.
async fn old_win(node: &Redpacket, rain: &Rain, no: CampaignNo, ask: &Ask<'_>) -> Option<Answer> {
    let look = node.old_looks.wins(no, ask.user.clone());
    let Ok(Some(wins)) = tokio::time::timeout_at(ask.deadline, look).await else {
        return Some(Answer::Unavailable);
    };
    told(&rain.view(), ask, |limit, period| {
        winners::known_among(&wins, limit, period, ask.tap.id)
    })
}

/// What this node knows of the user's wins, once no claim of the user is under way.
async fn won_meanwhile(rain: &Rain, ask: &Ask<'_>) -> Option<Answer> {
    loop {
        // In this order: a claim records its win before it ends.
        let under_way = rain.winners.under_way(ask.user);
        let known = known_win(rain, &rain.view(), ask);
        if known.is_some() {
            return known;
        }
        // The sender is dropped, never used: an error is the end of the claim.
        let mut claim = under_way?;
        let ended = tokio::time::timeout_at(ask.deadline, claim.changed()).await;
        if ended.is_err() {
            return Some(Answer::Unavailable);
        }
    }
}

/// What this node knows of the user's wins, without waiting.
fn known_win(rain: &Rain, view: &View, ask: &Ask<'_>) -> Option<Answer> {
    told(view, ask, |limit, period| {
        rain.winners.known(ask.user, limit, period, ask.tap.id)
    })
}

/// The answer that is known, by what finds out about a limit and the period of this ask.
#[inline]
fn told(
    view: &View,
    ask: &Ask<'_>,
    known: impl FnOnce(WinLimit, &dyn Fn() -> i64) -> Known,
) -> Option<Answer> {
    let limit = view.campaign.win_limit;
    let period = || limit.period(ask.now, view.campaign.starts_at, view.openings);
    match known(limit, &period) {
        Known::Repeated(win) => Some(Answer::Repeated(win)),
        Known::LimitReached => Some(Answer::Rejected(Rejected::LimitReached)),
        Known::Open => None,
    }
}

/// Step 4: whether the time allows a win.
fn schedule(view: &View, now: Timestamp) -> Option<Missed> {
    let campaign = &view.campaign;
    if campaign.closed_at.is_some() {
        Some(Missed::Ended)
    } else if view.openings == 0 {
        Some(Missed::NotStarted)
    } else if campaign.paused_at.is_some() {
        Some(Missed::Paused)
    } else if now >= campaign.ends_at {
        Some(Missed::Ended)
    } else {
        None
    }
}

/// Step 5: whether a packet is to be had here, waiting a little for one that is on its way.
async fn stock(rain: &Rain, patience: &mut Patience) -> Option<Missed> {
    let claimed = || all_claimed(rain, &rain.view());
    if let Some(reason) = claimed() {
        return Some(reason);
    }
    if rain.stock.is_empty() && !rain.stock.wait(patience, || claimed().is_some()).await {
        return Some(Missed::NotThisTime);
    }
    claimed()
}

/// Why nothing can be won when every packet issued so far is claimed.
fn all_claimed(rain: &Rain, view: &View) -> Option<Missed> {
    if !rain.all_claimed(view) {
        return None;
    }
    Some(if view.more_waves {
        Missed::BetweenWaves
    } else {
        Missed::SoldOut
    })
}

/// Step 6: whether the account service lets the user try; `None` when it cannot be reached.
async fn account_rules(node: &Redpacket, rain: &Rain, ask: &Ask<'_>) -> Option<Verdict> {
    let view = rain.view();
    node.admission
        .admit(rain.id, &view.rules, ask.attempt(), ask.now, ask.deadline)
        .await
}

/// Steps 7 and 8: take a packet and claim it, the next one when somebody else has it. A 503
/// gives the account's attempt back, here or, once the claim is handed over, in the committer.
async fn take_and_claim(
    node: &Redpacket,
    rain: &Arc<Rain>,
    ask: &Ask<'_>,
    patience: &mut Patience,
) -> Answer {
    let mut tried = false;
    while Instant::now() < ask.deadline {
        if !rain.winners.begin(ask.user) {
            // Another tap of the same user got here first: its end decides.
            match won_meanwhile(rain, ask).await {
                Some(answer) => return withdrawn_if_unavailable(node, rain, ask, answer),
                None => continue,
            }
        }
        // Another tap may have won between step 3 and the mark just set.
        let known = known_win(rain, &rain.view(), ask);
        if let Some(answer) = known {
            rain.winners.end(ask.user);
            return answer;
        }
        let Some(packet) = rain.stock.take() else {
            rain.winners.end(ask.user);
            match stock(rain, patience).await {
                Some(reason) => return Answer::Missed(reason),
                None => continue,
            }
        };
        let (reply, wait) = Reply::new();
        let claim = Claim {
            ask: claim_ask(node, rain, ask, &packet),
            rain: rain.clone(),
            packet,
            tap: ask.tap.id,
            ip: ask.ip,
            reply,
        };
        if let Err(claim) = node.claims.submit(claim) {
            metrics::counter!("hongbao_claims_refused_total").increment(1);
            node.give_up(*claim);
            return Answer::Unavailable;
        }
        return match tokio::time::timeout_at(ask.deadline, wait).await {
            Ok(Ok(Claimed::Won(win))) => Answer::Won(win),
            Ok(Ok(Claimed::Repeated(win))) => Answer::Repeated(win),
            Ok(Ok(Claimed::LimitReached)) => Answer::Rejected(Rejected::LimitReached),
            Ok(Ok(Claimed::Ended)) => Answer::Missed(Missed::Ended),
            Ok(Ok(Claimed::PacketTaken)) => {
                tried = true;
                continue;
            }
            // Late, or the committer has stopped: the claim may yet become durable.
            Ok(Ok(Claimed::Unavailable) | Err(_)) | Err(_) => Answer::Unavailable,
        };
    }
    if tried {
        // Nothing is undecided: every packet that was tried belongs to somebody else.
        return Answer::Missed(Missed::NotThisTime);
    }
    // The time went with what comes before a claim, and there may be packets.
    withdrawn_if_unavailable(node, rain, ask, Answer::Unavailable)
}

fn withdrawn_if_unavailable(
    node: &Redpacket,
    rain: &Rain,
    ask: &Ask<'_>,
    answer: Answer,
) -> Answer {
    if answer == Answer::Unavailable {
        node.admission.withdraw(rain.id, ask.attempt());
    }
    answer
}

fn claim_ask(
    node: &Redpacket,
    rain: &Rain,
    ask: &Ask<'_>,
    packet: &super::stock::HeldPacket,
) -> ClaimAsk {
    let view = rain.view();
    let campaign = &view.campaign;
    let mut random = [0; 10];
    node.random.fill(&mut random);
    ClaimAsk {
        id: ClaimId::new(ask.now, random),
        campaign: campaign.no,
        starts_at: campaign.starts_at,
        win_limit: campaign.win_limit,
        user: ask.user.clone(),
        packet: packet.packet,
        amount: packet.amount,
        tier: packet.tier,
        grab_id: ask.tap.id.filter(|_| campaign.win_limit.several()),
        asked_at: ask.now,
    }
}

/// Answers a tap on campaign `id`: won, missed or rejected.
#[utoipa::path(
    post,
    path = "/redpacket/campaigns/{id}/grab",
    tag = "redpacket",
    params(
        ("id" = String, Path),
        ("Grab-Id" = Option<String>, Header, description = "A UUID, new for each tap; a repeat of a tap sends the same"),
        ("Grab-Attempt" = Option<u32>, Header, description = "1, and one more with each repeat of the tap"),
    ),
    responses(
        (status = 200, description = "`outcome` is `won`, `missed` or `rejected`", body = serde_json::Value),
        (status = 400, description = "`invalid_header`"),
        (status = 401, description = "`unauthenticated`"),
        (status = 404, description = "`no_such_campaign`"),
        (status = 503, description = "`unavailable`: ask again with the same Grab-Id"),
    ),
    security(("participant" = []))
)]
pub(super) async fn route(
    State(redpacket): State<Arc<Redpacket>>,
    Path(id): Path<String>,
    Extension(ip): Extension<ClientIp>,
    headers: HeaderMap,
) -> Result<Response<axum::body::Body>, ApiError> {
    let answer = grab(&redpacket, &id, &headers, ip.0).await?;
    Ok(answer.map(axum::body::Body::from))
}
