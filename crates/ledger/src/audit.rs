//! The proof that a campaign's books balance, pure over one snapshot.
//!
//! Every amount is made again from the seed; nothing that the ledger counted is believed. It
//! must never mend what it finds.

use std::collections::HashMap;

use rules::{Books, Fen, PacketId, Shares, Timestamp, canonical_parameters, commitment, split};
use serde::{Serialize, Serializer};

use crate::{AuditClaim, AuditSnapshot, Campaign, Wave, WaveState};

/// Differences of one kind that are spelled out; the rest are counted.
const SPELLED_OUT_MAX: usize = 20;

/// What an audit found. Serialised, it is the body of the API's audit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditReport {
    /// Whether there is no difference at all.
    pub balanced: bool,
    /// The sum of all tranches.
    pub budget: Fen,
    /// The sum of all claims, as their rows say.
    pub claimed: Fen,
    /// What can still be won or refunded, made again from the seed.
    pub unclaimed: Fen,
    /// What the close gave back.
    pub refunded: Fen,
    /// The same in packets.
    pub packets: AuditPackets,
    /// Packets with more than one claim.
    pub double_claims: u64,
    /// (user, period) pairs with more wins than the limit.
    pub over_limit: u64,
    /// Claims whose amount is not their packet's, or that have no packet.
    pub wrong_amounts: u64,
    /// The public commitment, in hexadecimal digits.
    #[serde(serialize_with = "as_hex")]
    pub split_commitment: [u8; 32],
    /// When the snapshot was taken.
    pub checked_at: Timestamp,
    /// Every difference, in plain words; empty when the books balance.
    pub differences: Vec<String>,
}

/// The packets of a campaign.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AuditPackets {
    /// Of all tranches.
    pub total: u64,
    /// With a claim.
    pub claimed: u64,
    /// That can still be won or refunded.
    pub unclaimed: u64,
    /// Given back by the close.
    pub refunded: u64,
}

fn as_hex<S: Serializer>(digest: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hex::encode(digest))
}

/// Audits a campaign: every amount is made again from the seed, each claim compared with its
/// packet, what is left summed over the packets without a claim, and all of it compared with
/// the fence's counters, the refund, the waves' digests and the commitment.
#[must_use]
pub fn audit(snapshot: &AuditSnapshot) -> AuditReport {
    let campaign = &snapshot.campaign;
    let mut found = Differences::default();
    check_commitment(campaign, &mut found);
    let (budget, shares) = make_again(campaign, &mut found);
    let cuts = check_waves(campaign, &shares, &mut found);
    let claims = check_claims(snapshot, &cuts, &mut found);
    let total: u64 = cuts.values().map(|cut| u64::from(cut.packets)).sum();
    let left = Left {
        packets: total.saturating_sub(claims.packets),
        amount: claims.left,
    };
    let refunded = check_refunds(snapshot, left, &mut found);
    check_counters(snapshot, &claims, &mut found);
    // What was left at the close is refunded; nothing can be won after it.
    let still_there = if snapshot.refunds.is_empty() {
        left
    } else {
        Left::default()
    };
    let books = Books {
        budget,
        claimed: claims.sum,
        refunded: refunded.amount,
        unclaimed: still_there.amount,
        packets_total: campaign.packets_total(),
        packets_claimed: claims.packets,
        packets_refunded: refunded.packets,
        packets_unclaimed: still_there.packets,
    };
    if let Err(imbalance) = books.check() {
        found.add(imbalance.to_string());
    }
    report(snapshot, &books, claims.wrong, found)
}

/// Packets with more than one claim, out of claims by packet. The primary key forbids them;
/// counted all the same, because an audit that trusts the keys proves nothing of them.
pub(crate) fn double_claims(claims: &[AuditClaim]) -> u64 {
    let doubles = claims
        .chunk_by(|a, b| a.packet == b.packet)
        .filter(|claims| claims.len() > 1);
    doubles.count() as u64
}

fn report(
    snapshot: &AuditSnapshot,
    books: &Books,
    wrong_amounts: u64,
    mut found: Differences,
) -> AuditReport {
    if snapshot.double_claims > 0 {
        let packets = snapshot.double_claims;
        found.add(format!("{packets} packets are claimed more than once"));
    }
    if snapshot.over_limit > 0 {
        let users = snapshot.over_limit;
        found.add(format!(
            "{users} times a user has won more often than the limit"
        ));
    }
    AuditReport {
        balanced: found.texts.is_empty(),
        budget: books.budget,
        claimed: books.claimed,
        unclaimed: books.unclaimed,
        refunded: books.refunded,
        packets: AuditPackets {
            total: books.packets_total,
            claimed: books.packets_claimed,
            unclaimed: books.packets_unclaimed,
            refunded: books.packets_refunded,
        },
        double_claims: snapshot.double_claims,
        over_limit: snapshot.over_limit,
        wrong_amounts,
        split_commitment: snapshot.campaign.commitment,
        checked_at: snapshot.taken_at,
        differences: found.texts,
    }
}

/// What was found, in words.
#[derive(Default)]
struct Differences {
    texts: Vec<String>,
}

impl Differences {
    fn add(&mut self, text: String) {
        self.texts.push(text);
    }
}

/// Packets that nobody has claimed.
#[derive(Clone, Copy, Debug, Default)]
struct Left {
    packets: u64,
    amount: Fen,
}

/// The claims, compared with their packets.
struct Claims {
    packets: u64,
    sum: Fen,
    wrong: u64,
    /// The sum of the packets without a claim.
    left: Fen,
}

/// A wave with the amounts of its packets, made again.
struct Cut<'a> {
    packets: u32,
    amounts: &'a [Fen],
}

fn check_commitment(campaign: &Campaign, found: &mut Differences) {
    let Some(creation) = campaign.tranches.first() else {
        return found.add("the campaign has no tranche".into());
    };
    let batches = campaign.waves.iter().filter(|w| w.tranche == 0).count();
    let batches = u32::try_from(batches).unwrap_or(u32::MAX);
    let canonical = canonical_parameters(
        creation.packets,
        batches,
        &campaign.currency,
        &creation.split,
    );
    if commitment(&campaign.seed, &canonical) != campaign.commitment {
        found.add("the seed and the terms do not give the public commitment".into());
    }
}

/// The budget, and the packets of each tranche. A tranche that cannot be split gives none.
fn make_again(campaign: &Campaign, found: &mut Differences) -> (Fen, Vec<Option<Shares>>) {
    let mut budget = Fen::ZERO;
    let mut all = Vec::with_capacity(campaign.tranches.len());
    for (place, tranche) in campaign.tranches.iter().enumerate() {
        if usize::try_from(tranche.number) != Ok(place) {
            found.add(format!("tranche {place} has the number {}", tranche.number));
        }
        let made = tranche.budget().and_then(|sum| {
            let shares = split(&campaign.seed, tranche)?;
            Ok((sum, shares))
        });
        match made {
            Ok((sum, shares)) => {
                match budget.checked_add(sum) {
                    Some(more) => budget = more,
                    None => found.add("the tranches hold more than an amount can be".into()),
                }
                if Fen::checked_sum(shares.amounts().iter().copied()) != Some(sum) {
                    found.add(format!(
                        "the packets of tranche {place} do not sum to {sum}"
                    ));
                }
                all.push(Some(shares));
            }
            Err(refusal) => {
                let field = refusal.field();
                found.add(format!(
                    "tranche {place} cannot be split: {field} {refusal}"
                ));
                all.push(None);
            }
        }
    }
    (budget, all)
}

/// Each wave's amounts; that the waves cut every tranche exactly once; and their digests.
fn check_waves<'a>(
    campaign: &Campaign,
    shares: &'a [Option<Shares>],
    found: &mut Differences,
) -> HashMap<u32, Cut<'a>> {
    let mut cuts = HashMap::with_capacity(campaign.waves.len());
    // How far each tranche is cut so far: waves follow one another in it without a gap.
    let mut cut_to = vec![0_u32; shares.len()];
    for wave in &campaign.waves {
        let number = wave.number;
        let Some(shares) = usize::try_from(wave.tranche)
            .ok()
            .and_then(|t| shares.get(t)?.as_ref())
        else {
            found.add(format!(
                "wave {number} belongs to no tranche that can be split"
            ));
            continue;
        };
        let cut_to = &mut cut_to[wave.tranche as usize];
        let end = wave.offset.saturating_add(wave.packets);
        let amounts = shares
            .amounts()
            .get(wave.offset as usize..end as usize)
            .unwrap_or_default();
        if wave.offset != *cut_to || amounts.is_empty() {
            found.add(format!("wave {number} is not the next part of its tranche"));
        }
        *cut_to = end;
        check_digest(wave, shares, found);
        let packets = wave.packets;
        if cuts.insert(number, Cut { packets, amounts }).is_some() {
            found.add(format!("wave {number} is there twice"));
        }
    }
    for (tranche, (shares, cut_to)) in shares.iter().zip(cut_to).enumerate() {
        if shares.as_ref().is_some_and(|s| s.len() != cut_to as usize) {
            found.add(format!("the waves do not cover tranche {tranche}"));
        }
    }
    cuts
}

fn check_digest(wave: &Wave, shares: &Shares, found: &mut Differences) {
    let right = match wave.state {
        WaveState::Planned => wave.digest.is_none(),
        WaveState::Issuing | WaveState::Open => {
            wave.digest == Some(shares.range_digest(wave.offset, wave.packets))
        }
    };
    if !right {
        let number = wave.number;
        found.add(format!(
            "wave {number} was issued with other amounts than the seed gives"
        ));
    }
}

fn check_claims(
    snapshot: &AuditSnapshot,
    cuts: &HashMap<u32, Cut<'_>>,
    found: &mut Differences,
) -> Claims {
    let mut claimed: HashMap<u32, Vec<bool>> = cuts
        .iter()
        .map(|(&wave, cut)| (wave, vec![false; cut.amounts.len()]))
        .collect();
    let mut claims = Claims {
        packets: 0,
        sum: Fen::ZERO,
        wrong: 0,
        left: Fen::ZERO,
    };
    let (mut doubles, mut overflow) = (0_u64, false);
    for claim in &snapshot.claims {
        let packet = claim.packet;
        match claims.sum.checked_add(claim.amount) {
            Some(sum) => claims.sum = sum,
            None => overflow = true,
        }
        let place = packet.index.checked_sub(1).map(|place| place as usize);
        let amounts = cuts.get(&packet.wave).map(|cut| cut.amounts);
        let right = place.and_then(|place| amounts?.get(place)).copied();
        if right != Some(claim.amount) {
            claims.wrong += 1;
            spell_out(claims.wrong, found, || {
                wrong_amount(packet, claim.amount, right)
            });
        }
        let seen = claimed.get_mut(&packet.wave);
        match seen
            .zip(place)
            .and_then(|(wave, place)| wave.get_mut(place))
        {
            Some(seen) if !*seen => {
                *seen = true;
                claims.packets += 1;
            }
            Some(_) => doubles += 1,
            // Counted among the wrong ones already.
            None => {}
        }
    }
    if doubles > 0 && snapshot.double_claims == 0 {
        found.add(format!(
            "{doubles} claims are of packets that had one already"
        ));
    }
    if overflow {
        found.add("the claims sum to more than an amount can be".into());
    }
    let free = cuts.iter().flat_map(|(wave, cut)| {
        let unclaimed = cut.amounts.iter().zip(&claimed[wave]);
        unclaimed
            .filter(|(_, claimed)| !**claimed)
            .map(|(&amount, _)| amount)
    });
    match Fen::checked_sum(free) {
        Some(left) => claims.left = left,
        None => found.add("what is left sums to more than an amount can be".into()),
    }
    claims
}

fn wrong_amount(packet: PacketId, claimed: Fen, right: Option<Fen>) -> String {
    match right {
        Some(right) => format!("packet {packet} was claimed as {claimed}, but holds {right}"),
        None => format!("packet {packet} was claimed, but does not exist"),
    }
}

/// Adds a text for each of the first differences of a kind, and one for all others.
fn spell_out(nth: u64, found: &mut Differences, text: impl FnOnce() -> String) {
    let most = SPELLED_OUT_MAX as u64;
    if nth <= most {
        found.add(text());
    } else if nth == most + 1 {
        found.add("and more of the same".into());
    }
}

/// That there was one refund at most, exactly when the campaign is closed, of all that was left.
fn check_refunds(snapshot: &AuditSnapshot, left: Left, found: &mut Differences) -> Left {
    let refunds = &snapshot.refunds;
    if refunds.len() > 1 {
        found.add(format!(
            "{} refunds were written instead of one",
            refunds.len()
        ));
    }
    if refunds.is_empty() == snapshot.campaign.closed_at.is_some() {
        found.add("the campaign is closed without a refund, or refunded without a close".into());
    }
    for refund in refunds {
        if (refund.packets, refund.amount) != (left.packets, left.amount) {
            found.add(format!(
                "{} packets with {} were refunded, but {} with {} were left",
                refund.packets, refund.amount, left.packets, left.amount
            ));
        }
    }
    let packets = refunds
        .iter()
        .map(|r| r.packets)
        .fold(0, u64::saturating_add);
    let amount = Fen::checked_sum(refunds.iter().map(|r| r.amount)).unwrap_or(Fen::MAX);
    Left { packets, amount }
}

/// That the fence has counted what the claims are.
fn check_counters(snapshot: &AuditSnapshot, claims: &Claims, found: &mut Differences) {
    let rows = snapshot.claims.len() as u64;
    if snapshot.fence_claims != rows {
        let counted = snapshot.fence_claims;
        found.add(format!(
            "the fence has counted {counted} claims, but there are {rows}"
        ));
    }
    if snapshot.fence_sum != claims.sum {
        let (counted, sum) = (snapshot.fence_sum, claims.sum);
        found.add(format!(
            "the fence has counted a sum of {counted}, but the claims hold {sum}"
        ));
    }
}
