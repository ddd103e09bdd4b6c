//! The bodies of the HTTP contract, as far as the crowd reads them.
//!
//! Unknown fields are skipped: a server may say more than the contract asks.

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use rules::{Fen, Missed, PacketId, Rejected, Timestamp, UserId, WinLimit};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// `POST /account/sessions`.
#[derive(Debug, Deserialize)]
pub(crate) struct Session {
    pub(crate) token: String,
    pub(crate) user: UserId,
}

/// `GET /redpacket/campaigns/{id}`.
#[derive(Debug, Deserialize)]
pub(crate) struct PublicCampaign {
    #[serde(default)]
    pub(crate) title: String,
    pub(crate) server_time: Timestamp,
    /// What a server shows of the terms without an organiser key.
    #[serde(flatten)]
    pub(crate) terms: Terms,
}

/// `GET /monitor/api/campaigns/{id}`: the terms that the audit needs. What a server leaves out
/// cannot be checked, and the report says so.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Terms {
    /// How often one user may win.
    #[serde(default)]
    pub win_limit: Option<WinLimit>,
    /// What periods of seconds count from.
    #[serde(default)]
    pub starts_at: Option<Timestamp>,
    /// ISO 4217 code of the currency.
    #[serde(default)]
    pub currency: Option<String>,
    /// The waves with the times at which they opened; a server may show a mere number to the
    /// public.
    #[serde(default)]
    pub waves: Option<TermsWaves>,
}

/// The waves within [`Terms`].
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum TermsWaves {
    /// Each wave.
    Listed(Vec<TermsWave>),
    /// Anything else, which says nothing of their openings.
    Other(serde::de::IgnoredAny),
}

/// A wave within [`Terms`].
#[derive(Clone, Debug, Deserialize)]
pub struct TermsWave {
    /// When it opened; `None` when it has not.
    #[serde(default)]
    pub opened_at: Option<Timestamp>,
}

/// A packet as a winner is told of it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Packet {
    /// Which.
    pub id: PacketId,
    /// What it holds.
    pub amount: Fen,
}

/// What a grab was answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Won { packet: Packet, repeated: bool },
    Missed { reason: Missed, more_to_come: bool },
    Rejected(Rejected),
}

/// The answer's fields as they come; an untagged or internally tagged enum would copy each one
/// before it is known what it is, and this is read once for every tap.
#[derive(Deserialize)]
struct AnswerFields {
    outcome: Kind,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    packet: Option<Packet>,
    #[serde(default)]
    repeated: Option<bool>,
    #[serde(default)]
    next_wave_at: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Won,
    Missed,
    Rejected,
}

impl Answer {
    /// Reads the body of a 200.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, String> {
        let fields: AnswerFields =
            serde_json::from_slice(body).map_err(|cause| cause.to_string())?;
        let reason = fields.reason.as_deref();
        match fields.outcome {
            Kind::Won => Ok(Self::Won {
                packet: fields.packet.ok_or("`won` without `packet`")?,
                repeated: fields.repeated.ok_or("`won` without `repeated`")?,
            }),
            Kind::Missed => Missed::ALL
                .into_iter()
                .find(|known| Some(known.as_str()) == reason)
                .map(|reason| Self::Missed {
                    reason,
                    more_to_come: fields.next_wave_at.is_some(),
                })
                .ok_or_else(|| format!("`missed` with the reason {reason:?}")),
            Kind::Rejected => Rejected::ALL
                .into_iter()
                .find(|known| Some(known.as_str()) == reason)
                .map(Self::Rejected)
                .ok_or_else(|| format!("`rejected` with the reason {reason:?}")),
        }
    }
}

/// `GET /redpacket/campaigns/{id}/wins`.
#[derive(Debug, Deserialize)]
pub(crate) struct OwnWins {
    pub(crate) wins: Vec<OwnWin>,
}

/// One of a user's own wins.
#[derive(Debug, Deserialize)]
pub(crate) struct OwnWin {
    pub(crate) packet: Packet,
}

/// One page of `GET …/winners`.
#[derive(Debug, Deserialize)]
pub(crate) struct WinnersPage {
    pub(crate) winners: Vec<Winner>,
    pub(crate) next_cursor: Option<String>,
}

/// A row of the winners' list.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Winner {
    /// Which packet.
    pub packet: PacketId,
    /// Who won it.
    pub user: UserId,
    /// What it holds.
    pub amount: Fen,
    /// When it was claimed.
    pub claimed_at: Timestamp,
}

/// `GET …/audit`: what the server says of its own books. Sums are minor units.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerAudit {
    /// Whether everything agreed.
    pub balanced: bool,
    /// All packets' amounts.
    pub budget: Fen,
    /// Those claimed.
    pub claimed: Fen,
    /// Those that can still be won.
    pub unclaimed: Fen,
    /// Those refunded.
    pub refunded: Fen,
    /// The same as counts of packets.
    pub packets: ServerAuditPackets,
    /// Packets with more than one claim.
    pub double_claims: u64,
    /// Users above their limit.
    pub over_limit: u64,
    /// Claims whose amount is not their packet's.
    pub wrong_amounts: u64,
}

/// Counts of packets within [`ServerAudit`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerAuditPackets {
    /// All.
    pub total: u64,
    /// Those claimed.
    pub claimed: u64,
    /// Those that can still be won.
    pub unclaimed: u64,
    /// Those refunded.
    pub refunded: u64,
}

/// The contract's error body.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct ErrorBody {
    #[serde(default)]
    pub(crate) error: ErrorFields,
}

/// What is inside [`ErrorBody`].
#[derive(Debug, Default, Deserialize)]
pub(crate) struct ErrorFields {
    #[serde(default)]
    pub(crate) code: String,
    #[serde(default)]
    pub(crate) message: String,
}

/// The error in `body`; a proxy's page, which has none, gives its beginning as the message.
pub(crate) fn error_of(body: &Bytes) -> ErrorFields {
    match serde_json::from_slice::<ErrorBody>(body) {
        Ok(body) if !body.error.code.is_empty() => body.error,
        _ => ErrorFields {
            code: "unknown".to_owned(),
            message: String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned(),
        },
    }
}

/// Whether the same request may be answered better later: the server, or a proxy before it, was
/// not able to decide.
pub(crate) fn worth_repeating(status: StatusCode) -> bool {
    status.is_server_error()
        || status == StatusCode::TOO_MANY_REQUESTS
        || status == StatusCode::REQUEST_TIMEOUT
}

/// How long `Retry-After` asks to wait, when it is given in seconds.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    seconds.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_answers_are_read() {
        let won = br#"{"outcome":"won","packet":{"id":"2-17","wave":2,"amount":88,"currency":"CNY",
            "label":null},"claimed_at":"2026-01-01T00:00:00.000Z","repeated":true}"#;
        assert_eq!(
            Answer::parse(won),
            Ok(Answer::Won {
                packet: Packet {
                    id: PacketId { wave: 2, index: 17 },
                    amount: Fen::new(88).unwrap(),
                },
                repeated: true,
            })
        );
        let missed = br#"{"outcome":"missed","reason":"between_waves","next_wave_at":"2026-01-01T00:00:00.000Z"}"#;
        assert_eq!(
            Answer::parse(missed),
            Ok(Answer::Missed {
                reason: Missed::BetweenWaves,
                more_to_come: true,
            })
        );
        let sold_out = br#"{"outcome":"missed","reason":"sold_out","next_wave_at":null}"#;
        assert_eq!(
            Answer::parse(sold_out),
            Ok(Answer::Missed {
                reason: Missed::SoldOut,
                more_to_come: false,
            })
        );
        let rejected = br#"{"outcome":"rejected","reason":"discarded"}"#;
        assert_eq!(
            Answer::parse(rejected),
            Ok(Answer::Rejected(Rejected::Discarded))
        );
    }

    #[test]
    fn what_the_contract_does_not_allow_is_no_answer() {
        for body in [
            "",
            "{}",
            r#"{"outcome":"lucky"}"#,
            r#"{"outcome":"won","repeated":false}"#,
            r#"{"outcome":"missed","reason":"discarded"}"#,
            r#"{"outcome":"rejected"}"#,
            r#"{"outcome":"won","packet":{"id":"2-17","amount":-1},"repeated":false}"#,
        ] {
            assert!(Answer::parse(body.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn a_proxys_page_becomes_an_error_without_a_code() {
        let page = Bytes::from_static(b"<h1>Bad gateway</h1>");
        assert_eq!(error_of(&page).code, "unknown");
        assert!(error_of(&page).message.contains("Bad gateway"));
        let ours = Bytes::from_static(br#"{"error":{"code":"no_such_campaign","message":"m"}}"#);
        assert_eq!(error_of(&ours).code, "no_such_campaign");
    }
}
