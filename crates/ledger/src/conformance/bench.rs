//! What the promises are tried on: a fresh ledger, a clock to turn, and campaigns with real
//! amounts.

use std::{
    any::Any,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use rules::{
    CampaignId, ClaimId, Clock, Fen, GrabId, PacketId, Per, Rules, Seed, Shares, Split, Timestamp,
    Tranche, UserId, WinLimit, canonical_parameters, commitment, split, wave_sizes,
};
use uuid::Uuid;

use crate::{
    AuditReport, Campaign, CampaignNo, ClaimAsk, ClaimError, ClaimResult, Idempotency, Lead,
    Ledger, NewCampaign, NodeId, Seen, Wave, WaveState, Win, audit,
};

/// When the tests begin.
pub const START: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

/// A fresh ledger to try a promise on.
pub struct Bench {
    /// The ledger, empty.
    pub ledger: Arc<dyn Ledger>,
    /// The wall clock that the ledger was opened with.
    pub clock: Arc<TurnedClock>,
    /// What must live as long as the ledger, such as its folder.
    pub keep: Box<dyn Any + Send + Sync>,
}

/// A clock that stands where it is turned to.
pub struct TurnedClock(AtomicI64);

impl Default for TurnedClock {
    fn default() -> Self {
        Self(AtomicI64::new(START.micros()))
    }
}

impl TurnedClock {
    /// Turns the clock by `seconds` (negative: back).
    pub fn turn(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
    }
}

impl Clock for TurnedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

/// The lead, for the one monitor of a test.
pub async fn lead(ledger: &dyn Ledger) -> Lead {
    let lead = ledger.lead(NodeId(1), Duration::from_secs(3_600)).await;
    lead.unwrap().unwrap()
}

/// Every win of `campaign`, by user.
pub async fn all_wins(ledger: &dyn Ledger, campaign: CampaignNo) -> Vec<(UserId, Win)> {
    let mut wins = ledger
        .wins_after(campaign, &Seen::default())
        .await
        .unwrap()
        .0;
    wins.sort_by_key(|(_, win)| win.packet);
    wins
}

/// A number that is never given twice in this process.
fn unique() -> u128 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    u128::from(NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A tap's id that was never used.
#[must_use]
pub fn new_grab() -> GrabId {
    GrabId(Uuid::from_u128(unique()))
}

/// The user of this name.
#[must_use]
pub fn user(name: &str) -> UserId {
    UserId::trusted(name)
}

/// `units` minor units.
#[must_use]
pub fn fen(units: u64) -> Fen {
    Fen::new(units).unwrap()
}

/// `count` wins per `per`.
#[must_use]
pub fn limit(count: u32, per: Per) -> WinLimit {
    WinLimit { count, per }
}

/// An idempotency key with a body that is all `body`.
#[must_use]
pub fn once(key: &str, body: u8) -> Idempotency {
    Idempotency {
        key: key.into(),
        body_digest: [body; 32],
    }
}

/// A lucky campaign of `packets` in `batches` with `total`, starting now.
#[must_use]
pub fn new_campaign(
    now: Timestamp,
    packets: u32,
    batches: u32,
    total: u64,
    win_limit: WinLimit,
) -> NewCampaign {
    let mut seed = [0; 32];
    seed[..16].copy_from_slice(&unique().to_le_bytes());
    let seed = Seed(seed);
    let split = Split::Lucky {
        total: fen(total),
        min: fen(1),
        max: None,
    };
    let canonical = canonical_parameters(packets, batches, "CNY", &split);
    NewCampaign {
        id: CampaignId(Uuid::from_u128(unique())),
        title: "A rain".into(),
        currency: "CNY".into(),
        starts_at: now,
        ends_at: now.plus_seconds(3_600),
        interval_seconds: 2,
        win_limit,
        rules: Rules::default(),
        seed,
        commitment: commitment(&seed, &canonical),
        tranche: Tranche {
            number: 0,
            packets,
            split,
        },
        waves: planned(now, packets, batches),
    }
}

fn planned(now: Timestamp, packets: u32, batches: u32) -> Vec<Wave> {
    let mut offset = 0;
    let sizes = wave_sizes(packets, batches).unwrap();
    let waves = sizes.into_iter().zip(1..).map(|(packets, number)| {
        let wave = Wave {
            number,
            tranche: 0,
            offset,
            packets,
            due_at: now.plus_seconds(2 * i64::from(number - 1)),
            state: WaveState::Planned,
            bundle_size: 0,
            algorithm: 0,
            digest: None,
            opened_at: None,
            opening: None,
        };
        offset += packets;
        wave
    });
    waves.collect()
}

/// A campaign under way.
pub struct Rain {
    /// The ledger it is in.
    pub ledger: Arc<dyn Ledger>,
    /// The campaign as it was last read.
    pub campaign: Campaign,
    shares: Vec<Shares>,
}

impl Rain {
    /// A new campaign whose waves are planned.
    pub async fn plan(bench: &Bench, packets: u32, batches: u32, win_limit: WinLimit) -> Self {
        let total = u64::from(packets) * 100;
        let new = new_campaign(bench.ledger.now(), packets, batches, total, win_limit);
        let id = new.id;
        bench.ledger.create_campaign(new, None).await.unwrap();
        let campaign = bench.ledger.campaign(id).await.unwrap().unwrap();
        let mut rain = Self {
            ledger: bench.ledger.clone(),
            campaign,
            shares: Vec::new(),
        };
        rain.read_again().await;
        rain
    }

    /// A new campaign with one open wave.
    pub async fn open(bench: &Bench, packets: u32, win_limit: WinLimit) -> Self {
        let mut rain = Self::plan(bench, packets, 1, win_limit).await;
        rain.open_wave(1, 4).await;
        rain
    }

    /// Issues and opens a wave with bundles of `bundle_size`.
    pub async fn open_wave(&mut self, number: u32, bundle_size: u32) {
        let mut wave = self.campaign.waves[number as usize - 1].clone();
        let shares = &self.shares[wave.tranche as usize];
        wave.bundle_size = bundle_size;
        wave.algorithm = rules::ALGORITHM;
        wave.digest = Some(shares.range_digest(wave.offset, wave.packets));
        let no = self.campaign.no;
        let lead = lead(&*self.ledger).await;
        self.ledger.begin_wave(lead, no, &wave).await.unwrap();
        self.ledger.open_wave(lead, no, number).await.unwrap();
        self.read_again().await;
    }

    /// Reads the campaign again, with the amounts of new tranches.
    pub async fn read_again(&mut self) {
        let id = self.campaign.id;
        self.campaign = self.ledger.campaign(id).await.unwrap().unwrap();
        let seed = self.campaign.seed;
        let shares = |tranche| split(&seed, tranche).unwrap();
        self.shares = self.campaign.tranches.iter().map(shares).collect();
    }

    /// What a packet holds.
    #[must_use]
    pub fn amount(&self, wave: u32, index: u32) -> Fen {
        let wave = &self.campaign.waves[wave as usize - 1];
        let shares = &self.shares[wave.tranche as usize];
        shares.amount((wave.offset + index - 1) as usize)
    }

    /// A wish of `name` for a packet, with a tap of its own.
    #[must_use]
    pub fn ask(&self, name: &str, wave: u32, index: u32) -> ClaimAsk {
        ClaimAsk {
            id: ClaimId(Uuid::from_u128(unique())),
            campaign: self.campaign.no,
            starts_at: self.campaign.starts_at,
            win_limit: self.campaign.win_limit,
            user: user(name),
            packet: PacketId { wave, index },
            amount: self.amount(wave, index),
            tier: None,
            grab_id: Some(new_grab()),
            asked_at: self.ledger.now(),
        }
    }

    /// Claims through slot 0.
    pub async fn claim(&self, asks: &[ClaimAsk]) -> Vec<ClaimResult> {
        let results = self.ledger.claim(0, asks).await.unwrap().results;
        assert_eq!(results.len(), asks.len());
        results
    }

    /// Claims a packet of wave 1 that must be won.
    pub async fn win(&self, name: &str, index: u32) -> Win {
        won(&self.claim(&[self.ask(name, 1, index)]).await[0])
    }

    /// The audit, which must find nothing.
    pub async fn balanced(&self) -> AuditReport {
        let report = self.report().await;
        assert!(report.balanced, "{:#?}", report.differences);
        report
    }

    /// The audit.
    pub async fn report(&self) -> AuditReport {
        let id = self.campaign.id;
        audit(&self.ledger.audit_snapshot(id).await.unwrap().unwrap())
    }
}

/// The win of a result that must be one.
pub fn won(result: &ClaimResult) -> Win {
    match result {
        ClaimResult::Won(win) => win.clone(),
        other => panic!("not won, but {other:?}"),
    }
}

/// `asks`, as if they were new: one that is too old is answered without a look.
#[must_use]
pub fn asked_now(ledger: &dyn Ledger, asks: &[ClaimAsk]) -> Vec<ClaimAsk> {
    let asked_at = ledger.now();
    let now = |ask: &ClaimAsk| ClaimAsk {
        asked_at,
        ..ask.clone()
    };
    asks.iter().map(now).collect()
}

/// Claims where others claim too, and as they do that ask a node: again while nothing was done,
/// which a busy server says when transactions have waited for each other for too long.
///
/// # Panics
/// When that is said twenty times, or anything else is.
pub async fn claim_among_others(
    ledger: &dyn Ledger,
    slot: u8,
    asks: &[ClaimAsk],
) -> Vec<ClaimResult> {
    for _ in 0..20 {
        match ledger.claim(slot, &asked_now(ledger, asks)).await {
            Err(ClaimError::NotDone(_)) => {}
            claimed => return claimed.unwrap().results,
        }
    }
    panic!("nothing was ever done through slot {slot}");
}
