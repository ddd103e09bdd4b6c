//! Issuing: makes a wave's packets from the seed, notes what they are in the ledger, and sends
//! them as sealed bundles.
//!
//! The order is the promise: what a wave is made of is committed before its first bundle is
//! sent, and it opens only after its last. After a crash the amounts are made again and must
//! have the committed digest; packets that differ are never sent, the campaign is halted.

use std::{sync::Arc, time::Duration};

use ledger::{BundleKey, Campaign, Lead, Ledger, LedgerError, Wave, WaveState};
use moka::sync::Cache;
use queue::{
    Queue, QueueError, QueueName,
    bundle::{Bundle, BundleSealer},
};
use rules::{CampaignId, Shares};

/// How many bundles are sealed and sent in one call: few enough for a queue that takes 16 messages
/// at a time, and each of these batches slowly.
const BUNDLES_PER_SEND: usize = 64;
/// How soon bundles that could not be sent are tried again.
const SENT_AGAIN_AFTER: Duration = Duration::from_millis(100);
/// How long one call to the queue may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// How many packets' amounts are kept for the next wave of the same tranche: about 20 MB.
const KEPT_PACKETS_MAX: u64 = 2_000_000;
/// How long they are kept after their last use.
const KEPT_FOR: Duration = Duration::from_secs(30);

/// Issues waves and sends bundles again.
pub(crate) struct Issuer {
    ledger: Arc<dyn Ledger>,
    queue: Arc<dyn Queue>,
    replicas: u32,
    tranches: Cache<(CampaignId, u32), Arc<Shares>>,
}

/// What became of the wish to issue a wave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Issued {
    /// Its packets can be won now.
    Opened,
    /// Nothing to do: it is open already, or the campaign is closed, paused, halted or gone.
    NotNow,
}

/// Why a wave could not be issued or a bundle not be sent. Trying again is safe.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IssueError {
    /// The ledger did not answer.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The queue did not answer.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The packets made again are not those committed to; the campaign is halted.
    #[error("the campaign is halted: {0}")]
    Halted(String),
}

impl Issuer {
    pub(crate) fn new(ledger: Arc<dyn Ledger>, queue: Arc<dyn Queue>, replicas: u32) -> Self {
        let tranches = Cache::builder()
            .max_capacity(KEPT_PACKETS_MAX)
            .weigher(|_, shares: &Arc<Shares>| u32::try_from(shares.len()).unwrap_or(u32::MAX))
            .time_to_idle(KEPT_FOR)
            .build();
        Self {
            ledger,
            queue,
            replicas,
            tranches,
        }
    }

    /// Issues wave `number` (from 1) of campaign `id`, or completes what a crash cut short. The
    /// caller holds the campaign's lock.
    pub(crate) async fn issue(
        &self,
        lead: Lead,
        id: CampaignId,
        number: u32,
    ) -> Result<Issued, IssueError> {
        let Some((campaign, wave)) = self.waiting(id, number).await? else {
            return Ok(Issued::NotNow);
        };
        if wave.state == WaveState::Planned {
            if nothing_sent(&campaign) {
                // All that the queue must hold of it so far: nothing.
                bounded(self.queue.set_filled(&QueueName::of(id))).await?;
            }
            let shares = self.shares(&campaign, wave.tranche).await?;
            let begun = Wave {
                state: WaveState::Issuing,
                bundle_size: rules::bundle_size(wave.packets, self.replicas),
                algorithm: rules::ALGORITHM,
                digest: Some(digest(shares, &wave).await),
                ..wave
            };
            self.ledger.begin_wave(lead, campaign.no, &begun).await?;
        }
        // Read again: whoever began the wave first has decided what its bundles are. And nobody
        // may have: a pause that came between, and is over, has kept it from beginning.
        let Some((campaign, wave)) = self.waiting(id, number).await? else {
            return Ok(Issued::NotNow);
        };
        if wave.state != WaveState::Issuing {
            return Ok(Issued::NotNow);
        }
        let keys = rules::bundles(wave.packets, wave.bundle_size);
        let keys = keys.map(|(first_index, packets)| BundleKey {
            campaign: campaign.no,
            wave: number,
            first_index,
            packets,
        });
        self.send_of_wave(&campaign, &wave, &keys.collect::<Vec<_>>())
            .await?;
        let opened = self.ledger.open_wave(lead, campaign.no, number).await?;
        Ok(if opened {
            Issued::Opened
        } else {
            Issued::NotNow
        })
    }

    /// Sends `bundles` of open waves of `campaign` again.
    pub(crate) async fn send_again(
        &self,
        campaign: &Campaign,
        bundles: &[BundleKey],
    ) -> Result<(), IssueError> {
        for of_wave in bundles.chunk_by(|one, next| one.wave == next.wave) {
            let wave = campaign.waves.iter().find(|w| w.number == of_wave[0].wave);
            let Some(wave) = wave else {
                return Err(unread(of_wave[0].wave));
            };
            self.send_of_wave(campaign, wave, of_wave).await?;
        }
        Ok(())
    }

    /// Lets go of amounts that were not used for a while.
    pub(crate) fn tidy(&self) {
        self.tranches.run_pending_tasks();
    }

    /// The campaign and its wave `number`, when that is still to be opened and may be.
    async fn waiting(
        &self,
        id: CampaignId,
        number: u32,
    ) -> Result<Option<(Campaign, Wave)>, LedgerError> {
        let Some(campaign) = self.ledger.campaign(id).await? else {
            return Ok(None);
        };
        let stands = campaign.closed_at.is_some()
            || campaign.paused_at.is_some()
            || campaign.halted.is_some();
        let wave = campaign.waves.iter().find(|w| w.number == number);
        let wave = wave.filter(|w| w.state != WaveState::Open && !stands);
        Ok(wave.cloned().map(|wave| (campaign, wave)))
    }

    async fn send_of_wave(
        &self,
        campaign: &Campaign,
        wave: &Wave,
        keys: &[BundleKey],
    ) -> Result<(), IssueError> {
        let shares = self.checked_shares(campaign, wave).await?;
        let sealer = BundleSealer::new(&campaign.seed);
        let name = QueueName::of(campaign.id);
        for keys in keys.chunks(BUNDLES_PER_SEND) {
            let send = || {
                let bodies = keys.iter().map(|key| {
                    let bundle = bundle(campaign.id, wave, key, &shares);
                    sealer.encode(&bundle)
                });
                bounded(self.queue.send(&name, bodies.collect()))
            };
            // Once more before all of the wave would be sent anew: what was sent twice does no harm.
            if send().await.is_err() {
                tokio::time::sleep(SENT_AGAIN_AFTER).await;
                send().await?;
            }
        }
        metrics::counter!("hongbao_bundles_sent_total").increment(keys.len() as u64);
        Ok(())
    }

    /// The tranche of `wave`, once it is certain that the wave's packets are those committed to.
    async fn checked_shares(
        &self,
        campaign: &Campaign,
        wave: &Wave,
    ) -> Result<Arc<Shares>, IssueError> {
        if wave.state == WaveState::Planned {
            return Err(unread(wave.number));
        }
        if wave.algorithm != rules::ALGORITHM {
            let reason = format!(
                "wave {} was split by algorithm {}, which this version does not have",
                wave.number, wave.algorithm
            );
            return Err(self.halt(campaign, reason).await);
        }
        let shares = self.shares(campaign, wave.tranche).await?;
        if wave.digest != Some(digest(shares.clone(), wave).await) {
            let reason = format!(
                "the packets of wave {} are not those committed to",
                wave.number
            );
            return Err(self.halt(campaign, reason).await);
        }
        Ok(shares)
    }

    async fn shares(&self, campaign: &Campaign, tranche: u32) -> Result<Arc<Shares>, IssueError> {
        let key = (campaign.id, tranche);
        if let Some(shares) = self.tranches.get(&key) {
            return Ok(shares);
        }
        let found = campaign.tranches.iter().find(|t| t.number == tranche);
        let Some(terms) = found.cloned() else {
            let reason = format!("there is no tranche {tranche}");
            return Err(self.halt(campaign, reason).await);
        };
        let seed = campaign.seed;
        match blocking(move || rules::split(&seed, &terms)).await {
            Ok(shares) => {
                let shares = Arc::new(shares);
                self.tranches.insert(key, shares.clone());
                Ok(shares)
            }
            Err(refusal) => {
                let reason = format!("tranche {tranche} cannot be split: {refusal}");
                Err(self.halt(campaign, reason).await)
            }
        }
    }

    async fn halt(&self, campaign: &Campaign, reason: String) -> IssueError {
        match halt(self.ledger.as_ref(), campaign, &reason).await {
            Ok(()) => IssueError::Halted(reason),
            Err(error) => error.into(),
        }
    }
}

/// Stops the campaign's claims and says so loudly.
pub(crate) async fn halt(
    ledger: &dyn Ledger,
    campaign: &Campaign,
    reason: &str,
) -> Result<(), LedgerError> {
    tracing::error!(campaign.id = %campaign.id, reason, "a campaign is halted: its books are not what they must be");
    metrics::counter!("hongbao_campaigns_halted_total").increment(1);
    ledger.halt_campaign(campaign.id, reason).await
}

/// A call to the queue that ends in time.
pub(crate) async fn bounded<T>(
    call: impl Future<Output = Result<T, QueueError>>,
) -> Result<T, QueueError> {
    let late = || QueueError("a call took too long".into());
    tokio::time::timeout(CALL_TIMEOUT, call)
        .await
        .unwrap_or_else(|_| Err(late()))
}

/// A wave has bundles, and the campaign that was read does not show that it has begun: it was read
/// too early, or of a copy of the ledger that is behind. Nothing can be said about its packets.
fn unread(wave: u32) -> IssueError {
    let what = format!("wave {wave} has begun, and could not be read so yet");
    IssueError::Ledger(LedgerError::Unavailable(what))
}

/// Whether no bundle of `campaign` can have been sent.
fn nothing_sent(campaign: &Campaign) -> bool {
    campaign.waves.iter().all(|w| w.state == WaveState::Planned)
}

async fn digest(shares: Arc<Shares>, wave: &Wave) -> [u8; 32] {
    let (offset, packets) = (wave.offset, wave.packets);
    blocking(move || shares.range_digest(offset, packets)).await
}

/// Runs CPU-heavy `work` off the tasks that answer requests.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(failed) => std::panic::resume_unwind(failed.into_panic()),
    }
}

fn bundle(campaign: CampaignId, wave: &Wave, key: &BundleKey, shares: &Shares) -> Bundle {
    let start = wave.offset + key.first_index - 1;
    let places = (start..start + key.packets).map(|place| place as usize);
    let tiers: Option<Vec<u16>> = places.clone().map(|place| shares.tier(place)).collect();
    Bundle {
        campaign,
        wave: wave.number,
        first_index: key.first_index,
        amounts: places.map(|place| shares.amount(place)).collect(),
        tiers,
    }
}
