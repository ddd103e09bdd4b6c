//! A campaign as the organiser sees it: what everybody sees, and the terms and the money.

use ledger::{Campaign, Totals};
use rules::{CampaignId, Fen, Rules, Split, Timestamp, Tranche};
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::campaign_json::{PublicCampaign, State, currency_exponent};

/// A campaign with its waves, terms and money.
#[derive(Serialize, ToSchema)]
pub(crate) struct OrganiserCampaign {
    #[serde(flatten)]
    public: PublicCampaign,
    /// Where participants find it.
    link: String,
    /// When it was created.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// Seconds between two waves.
    interval_seconds: u32,
    /// How the creation's budget became packets.
    #[schema(value_type = Object)]
    split: Split,
    /// What was issued under which split: the creation, then each top-up.
    #[schema(value_type = Vec<Object>)]
    tranches: Vec<Tranche>,
    /// Who may try.
    #[schema(value_type = Object)]
    rules: Rules,
    /// What all packets hold together.
    #[schema(value_type = u64)]
    budget: Fen,
    /// What was left at the close; null before.
    refunded: Option<Refunded>,
    /// Why claims are stopped, if they are: an audit found a difference.
    halted: Option<String>,
    /// Since when it is paused.
    #[schema(value_type = Option<String>, format = DateTime)]
    paused_at: Option<Timestamp>,
    /// When it was closed.
    #[schema(value_type = Option<String>, format = DateTime)]
    closed_at: Option<Timestamp>,
}

/// What the close gave back.
#[derive(Serialize, ToSchema)]
pub(crate) struct Refunded {
    /// How many packets were left.
    packets: u64,
    /// What they held.
    #[schema(value_type = u64)]
    amount: Fen,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
}

/// A campaign in a list.
#[derive(Serialize, ToSchema)]
pub(crate) struct CampaignSummary {
    /// Public id, a UUID.
    #[schema(value_type = String, format = "uuid")]
    id: CampaignId,
    /// Title.
    title: String,
    /// Where it is in its life.
    state: State,
    /// When it was created.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When the first wave is due.
    #[schema(value_type = String, format = DateTime)]
    starts_at: Timestamp,
    /// When it is closed.
    #[schema(value_type = String, format = DateTime)]
    ends_at: Timestamp,
    /// When it was closed.
    #[schema(value_type = Option<String>, format = DateTime)]
    closed_at: Option<Timestamp>,
    /// All packets.
    packets_total: u64,
    /// Packets in opened waves.
    packets_issued: u64,
    /// How many waves there are, those to come included.
    waves_total: usize,
    /// ISO 4217 code.
    currency: String,
    /// Decimal places of the currency's minor unit.
    currency_exponent: u8,
    /// What all packets hold together.
    #[schema(value_type = u64)]
    budget: Fen,
    /// Why claims are stopped, if they are.
    halted: Option<String>,
}

/// What all packets of `campaign` hold together.
pub(crate) fn budget(campaign: &Campaign) -> Fen {
    let budgets = campaign.tranches.iter().map(|tranche| {
        let budget = tranche.budget();
        budget.expect("a tranche is in the ledger only after its budget was checked")
    });
    Fen::checked_sum(budgets).expect("a top-up is in the ledger only after the sum was checked")
}

impl OrganiserCampaign {
    /// What the organiser sees of `campaign` at ledger time `now`; participants find it at `link`.
    pub(crate) fn new(
        campaign: Campaign,
        link: String,
        rules: Rules,
        totals: &Totals,
        now: Timestamp,
    ) -> Self {
        let first = campaign.tranches.first();
        let split = first.expect("a campaign is created with its first tranche");
        Self {
            public: PublicCampaign::new(&campaign, now),
            link,
            created_at: campaign.created_at,
            interval_seconds: campaign.interval_seconds,
            split: split.split.clone(),
            budget: budget(&campaign),
            refunded: campaign.closed_at.map(|at| Refunded {
                packets: totals.refunded_packets,
                amount: totals.refunded,
                at,
            }),
            tranches: campaign.tranches,
            rules,
            halted: campaign.halted,
            paused_at: campaign.paused_at,
            closed_at: campaign.closed_at,
        }
    }
}

impl CampaignSummary {
    /// `campaign` as a line of a list.
    pub(crate) fn new(campaign: &Campaign) -> Self {
        Self {
            id: campaign.id,
            title: campaign.title.clone(),
            state: State::of(campaign),
            created_at: campaign.created_at,
            starts_at: campaign.starts_at,
            ends_at: campaign.ends_at,
            closed_at: campaign.closed_at,
            packets_total: campaign.packets_total(),
            packets_issued: campaign.packets_issued(),
            waves_total: campaign.waves.len(),
            currency: campaign.currency.clone(),
            currency_exponent: currency_exponent(&campaign.currency),
            budget: budget(campaign),
            halted: campaign.halted.clone(),
        }
    }
}
