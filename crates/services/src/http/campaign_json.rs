//! A campaign as everybody may see it: the body of `GET /redpacket/campaigns/{id}`, of the
//! `state` event, and the first half of what the organiser sees.
//!
//! It must never show the seed of a campaign that has not ended: every amount follows from it.

use ledger::{Campaign, WaveState};
use rules::{Timestamp, Tranche, WinLimit};
use serde::Serialize;
use utoipa::ToSchema;

/// The public part of a campaign, as of one instant.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PublicCampaign {
    /// Public id, a UUID.
    #[schema(value_type = String, format = "uuid")]
    pub id: rules::CampaignId,
    /// Title, as the organiser wrote it.
    pub title: String,
    /// Where it is in its life.
    pub state: State,
    /// The server's time, for countdowns that do not trust the phone's clock.
    #[schema(value_type = String, format = DateTime)]
    pub server_time: Timestamp,
    /// When the first wave is due.
    #[schema(value_type = String, format = DateTime)]
    pub starts_at: Timestamp,
    /// When it is closed.
    #[schema(value_type = String, format = DateTime)]
    pub ends_at: Timestamp,
    /// When the next wave is due; null when there is none, or none is known: paused or ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_wave_at: Option<Timestamp>,
    /// All waves by number.
    pub waves: Vec<PublicWave>,
    /// All packets, those of waves still to come included.
    pub packets_total: u64,
    /// Packets in opened waves.
    pub packets_issued: u64,
    /// ISO 4217 code.
    pub currency: String,
    /// Decimal places of the currency's minor unit: 2 for CNY, 0 for JPY.
    pub currency_exponent: u8,
    /// SHA-256 of the split's seed and parameters, in hex.
    pub split_commitment: String,
    /// The split's seed in hex; null until the campaign has ended.
    pub split_seed: Option<String>,
    /// What was split, with the seed all that recomputing the amounts takes; null until the
    /// campaign has ended.
    #[schema(value_type = Option<Vec<Object>>)]
    pub split_tranches: Option<Vec<Tranche>>,
    /// How often one user may win.
    #[schema(value_type = Object)]
    pub win_limit: WinLimit,
}

/// Where a campaign is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Its first wave is not open yet.
    Scheduled,
    /// Its packets can be won.
    Running,
    /// The organiser has paused it.
    Paused,
    /// It is closed for good: the refund is committed, the seed is public.
    Ended,
}

/// A wave, as everybody may see it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PublicWave {
    /// Number within the campaign, from 1.
    pub number: u32,
    /// How many packets.
    pub packets: u32,
    /// How far its issuing is.
    pub state: PublicWaveState,
    /// When it is to open.
    #[schema(value_type = String, format = DateTime)]
    pub due_at: Timestamp,
    /// When it opened.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub opened_at: Option<Timestamp>,
}

/// How far the issuing of a wave is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PublicWaveState {
    /// Scheduled.
    Planned,
    /// Its packets are on their way into the queue.
    Issuing,
    /// Its packets can be won.
    Open,
}

impl State {
    /// The state of `campaign`.
    #[must_use]
    pub fn of(campaign: &Campaign) -> Self {
        if campaign.closed_at.is_some() {
            Self::Ended
        } else if campaign.paused_at.is_some() {
            Self::Paused
        } else if campaign.openings() == 0 {
            Self::Scheduled
        } else {
            Self::Running
        }
    }
}

impl PublicCampaign {
    /// What everybody may see of `campaign` at ledger time `now`.
    #[must_use]
    pub fn new(campaign: &Campaign, now: Timestamp) -> Self {
        let state = State::of(campaign);
        let ended = state == State::Ended;
        let time_stands = ended || state == State::Paused;
        Self {
            id: campaign.id,
            title: campaign.title.clone(),
            state,
            server_time: now,
            starts_at: campaign.starts_at,
            ends_at: campaign.ends_at,
            next_wave_at: campaign.next_wave_at().filter(|_| !time_stands),
            waves: campaign.waves.iter().map(PublicWave::new).collect(),
            packets_total: campaign.packets_total(),
            packets_issued: campaign.packets_issued(),
            currency: campaign.currency.clone(),
            currency_exponent: currency_exponent(&campaign.currency),
            split_commitment: hex::encode(campaign.commitment),
            split_seed: ended.then(|| hex::encode(campaign.seed.0)),
            split_tranches: ended.then(|| campaign.tranches.clone()),
            win_limit: campaign.win_limit,
        }
    }
}

impl PublicWave {
    fn new(wave: &ledger::Wave) -> Self {
        Self {
            number: wave.number,
            packets: wave.packets,
            state: match wave.state {
                WaveState::Planned => PublicWaveState::Planned,
                WaveState::Issuing => PublicWaveState::Issuing,
                WaveState::Open => PublicWaveState::Open,
            },
            due_at: wave.due_at,
            opened_at: wave.opened_at,
        }
    }
}

/// Decimal places of `currency`'s minor unit; 2, as most have, for one that was taken by another
/// version and is not known to this one.
#[must_use]
pub fn currency_exponent(currency: &str) -> u8 {
    rules::check::exponent(currency).unwrap_or(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ledger::{CampaignNo, Wave};
    use rules::{CampaignId, Fen, Seed, Split};

    fn campaign() -> Campaign {
        let start = Timestamp::from_micros(1_767_225_599_000_000);
        Campaign {
            no: CampaignNo(1),
            id: CampaignId::new(start, [7; 10]),
            title: "New year".into(),
            currency: "JPY".into(),
            starts_at: start,
            ends_at: start.plus_seconds(60),
            interval_seconds: 2,
            win_limit: WinLimit::ONE,
            seed: Seed([0xab; 32]),
            commitment: [0xcd; 32],
            tranches: vec![Tranche {
                number: 0,
                packets: 4,
                split: Split::Equal { amount: Fen::MAX },
            }],
            waves: vec![Wave {
                number: 1,
                tranche: 0,
                offset: 0,
                packets: 4,
                due_at: start,
                state: WaveState::Planned,
                bundle_size: 0,
                algorithm: 0,
                digest: None,
                opened_at: None,
                opening: None,
            }],
            paused_at: None,
            closed_at: None,
            halted: None,
            created_at: start,
            version: 1,
        }
    }

    #[test]
    fn the_seed_is_shown_only_after_the_end() {
        let mut campaign = campaign();
        let seed = hex::encode(campaign.seed.0);
        for paused_at in [None, Some(campaign.starts_at)] {
            campaign.paused_at = paused_at;
            let shown = serde_json::to_string(&PublicCampaign::new(&campaign, campaign.starts_at));
            assert!(!shown.expect("plain data").contains(&seed));
        }
        campaign.closed_at = Some(campaign.ends_at);
        let shown = PublicCampaign::new(&campaign, campaign.ends_at);
        assert_eq!(shown.split_seed, Some(seed));
        assert!(shown.split_tranches.is_some());
    }

    #[test]
    fn the_state_follows_close_then_pause_then_the_first_opening() {
        let mut campaign = campaign();
        let at = campaign.starts_at;
        assert_eq!(State::of(&campaign), State::Scheduled);
        campaign.waves[0].state = WaveState::Issuing;
        assert_eq!(State::of(&campaign), State::Scheduled);
        campaign.waves[0].state = WaveState::Open;
        campaign.waves[0].opening = Some(1);
        assert_eq!(State::of(&campaign), State::Running);
        campaign.paused_at = Some(at);
        assert_eq!(State::of(&campaign), State::Paused);
        campaign.closed_at = Some(at);
        assert_eq!(State::of(&campaign), State::Ended);
    }

    #[test]
    fn no_next_wave_is_promised_while_time_stands_still() {
        let mut campaign = campaign();
        let next = |campaign: &Campaign| PublicCampaign::new(campaign, campaign.starts_at);
        assert_eq!(next(&campaign).next_wave_at, Some(campaign.starts_at));
        campaign.paused_at = Some(campaign.starts_at);
        assert_eq!(next(&campaign).next_wave_at, None);
    }
}
