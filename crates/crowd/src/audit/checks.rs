//! The checks: pure functions from evidence to verdict.
//!
//! Each compares two things that were learned separately. A check that could not be made says
//! so; it never counts as holding.

use std::collections::{HashMap, HashSet};

use rules::{Fen, PacketId, Per, WinLimit};

use super::{Check, Evidence, Source, Verdict, Winner, periods::Periods};

/// How many violations are described in words; the rest are counted.
const EXAMPLES_MAX: usize = 5;

/// Makes every check, in the order in which they are shown.
#[must_use]
pub fn all(evidence: &Evidence) -> Vec<Check> {
    type Judge = fn(&Evidence) -> Verdict;
    let checks: [(&str, &str, Judge); 11] = [
        (
            "all_answered",
            "every tap has its answer",
            every_tap_has_its_answer,
        ),
        (
            "repeats_agree",
            "asking again gives the same win",
            repeats_agree,
        ),
        (
            "own_packets_only",
            "no packet was told to two users",
            own_packets_only,
        ),
        ("books_read", "the server's books can be read", books_read),
        (
            "told_is_listed",
            "every win told is in the winners' list, alike",
            told_is_listed,
        ),
        (
            "listed_was_told",
            "every win of the run by these users was told",
            listed_was_told,
        ),
        (
            "no_packet_twice",
            "no packet is in the list twice",
            no_packet_twice,
        ),
        ("win_limit", "nobody is above the win limit", win_limit),
        (
            "sums_agree",
            "the list's count and sum are the audit's",
            sums_agree,
        ),
        (
            "server_balanced",
            "the server's own audit balances",
            server_balanced,
        ),
        (
            "own_wins_agree",
            "users' own lists of wins agree",
            own_wins_agree,
        ),
    ];
    checks
        .into_iter()
        .map(|(name, what, judge)| Check {
            name,
            what,
            verdict: judge(evidence),
        })
        .collect()
}

/// Violations as they are found: all counted, the first few kept in words.
#[derive(Default)]
struct Finding {
    violations: u64,
    examples: Vec<String>,
}

impl Finding {
    fn add(&mut self, words: impl FnOnce() -> String) {
        self.violations += 1;
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(words());
        }
    }

    fn verdict(self, examined: usize) -> Verdict {
        if self.violations == 0 {
            Verdict::Holds {
                examined: examined as u64,
            }
        } else {
            Verdict::Fails {
                violations: self.violations,
                examples: self.examples,
            }
        }
    }
}

/// The value read, or the verdict that the check was not made.
fn read<'a, T>(source: &'a Source<T>, what: &str) -> Result<&'a T, Verdict> {
    let why = match source {
        Source::Read(value) => return Ok(value),
        Source::NoKey => format!("{what} needs the organiser key"),
        Source::Failed(_) => format!("{what} could not be read"),
    };
    Err(Verdict::NotChecked { why })
}

macro_rules! read_or_return {
    ($source:expr, $what:literal) => {
        match read($source, $what) {
            Ok(value) => value,
            Err(not_checked) => return not_checked,
        }
    };
}

fn every_tap_has_its_answer(evidence: &Evidence) -> Verdict {
    let tapped = evidence.marks.iter().filter(|m| m.tapped()).count();
    if evidence.without_answer == 0 {
        return Finding::default().verdict(tapped);
    }
    let users = evidence.marks.iter().filter(|m| m.unsettled()).count();
    Verdict::Fails {
        violations: evidence.without_answer,
        examples: vec![format!(
            "{} taps of {users} users have no outcome; see the counts of refused and unanswered",
            evidence.without_answer
        )],
    }
}

/// What a repeat told is what was told first; a packet is new only once and has one amount.
fn repeats_agree(evidence: &Evidence) -> Verdict {
    let mut finding = Finding::default();
    let name = |user: u32| &evidence.users[user as usize];
    let limit = match &evidence.books.terms {
        Source::Read(terms) => terms.win_limit,
        Source::NoKey | Source::Failed(_) => None,
    };
    for changed in &evidence.changed {
        if !changed.fresh && limit != Some(WinLimit::ONE) {
            continue;
        }
        finding.add(|| {
            let then = match changed.then {
                Some(packet) => format!("packet {packet}"),
                None => "no win".to_owned(),
            };
            let (user, first) = (name(changed.user), changed.first);
            format!("`{user}` had won packet {first}; the repeat of that tap said {then}")
        });
    }
    let mut amounts: HashMap<(u32, PacketId), Fen> = HashMap::new();
    let mut packets: HashMap<u32, Vec<PacketId>> = HashMap::new();
    for told in &evidence.told {
        let first = *amounts
            .entry((told.user, told.packet))
            .or_insert(told.amount);
        if first != told.amount {
            finding.add(|| {
                format!(
                    "`{}` was told that packet {} holds {first}, and then {}",
                    name(told.user),
                    told.packet,
                    told.amount
                )
            });
        } else {
            packets.entry(told.user).or_default().push(told.packet);
        }
        if told.fresh > 1 {
            finding.add(|| {
                format!(
                    "`{}` was told {} times that packet {} is a new win",
                    name(told.user),
                    told.fresh,
                    told.packet
                )
            });
        }
    }
    if let Some(limit) = limit
        && limit.per == Per::Campaign
    {
        for (user, packets) in &packets {
            if packets.len() > limit.count as usize {
                finding.add(|| format!("`{}` was told of {}", name(*user), list(packets)));
            }
        }
    }
    finding.verdict(evidence.told.len())
}

/// `packets` in words, shortened.
fn list(packets: &[PacketId]) -> String {
    let shown: Vec<_> = packets.iter().take(4).map(ToString::to_string).collect();
    let more = packets.len() - shown.len();
    match more {
        0 => format!("packets {}", shown.join(", ")),
        _ => format!("packets {} and {more} more", shown.join(", ")),
    }
}

fn own_packets_only(evidence: &Evidence) -> Verdict {
    let mut finding = Finding::default();
    let mut owners: HashMap<PacketId, u32> = HashMap::new();
    for told in &evidence.told {
        let owner = *owners.entry(told.packet).or_insert(told.user);
        if owner != told.user {
            finding.add(|| {
                format!(
                    "packet {} was told to `{}` and to `{}`",
                    told.packet, evidence.users[owner as usize], evidence.users[told.user as usize]
                )
            });
        }
    }
    finding.verdict(owners.len())
}

fn books_read(evidence: &Evidence) -> Verdict {
    /// Whether it was tried, and why it failed.
    fn tried<T>(source: &Source<T>) -> Option<Result<(), &str>> {
        match source {
            Source::Read(_) => Some(Ok(())),
            Source::Failed(why) => Some(Err(why)),
            Source::NoKey => None,
        }
    }
    let books = &evidence.books;
    let tried = [
        tried(&books.terms),
        tried(&books.winners),
        tried(&books.audits),
        tried(&books.own_wins),
    ];
    let mut finding = Finding::default();
    let mut examined = 0;
    for result in tried.into_iter().flatten() {
        examined += 1;
        if let Err(why) = result {
            finding.add(|| why.to_owned());
        }
    }
    finding.verdict(examined)
}

fn by_packet(winners: &[Winner]) -> HashMap<PacketId, &Winner> {
    winners.iter().map(|w| (w.packet, w)).collect()
}

fn told_is_listed(evidence: &Evidence) -> Verdict {
    let winners = read_or_return!(&evidence.books.winners, "the winners' list");
    // A packet that stands in the list twice must not hide the row that agrees.
    let rows: HashSet<_> = winners
        .iter()
        .map(|w| (w.packet, w.user.as_str(), w.amount))
        .collect();
    let listed = by_packet(winners);
    let mut finding = Finding::default();
    for told in &evidence.told {
        let user = &evidence.users[told.user as usize];
        if rows.contains(&(told.packet, user.as_str(), told.amount)) {
            continue;
        }
        finding.add(|| {
            let (packet, amount) = (told.packet, told.amount);
            let claim = format!("packet {packet} was told to `{user}` with {amount}");
            match listed.get(&packet) {
                None => format!("{claim}, and is not in the list"),
                Some(row) => format!("{claim}; the list says `{}` with {}", row.user, row.amount),
            }
        });
    }
    finding.verdict(evidence.told.len())
}

/// Nobody won without ever hearing of it: only claims of this run by users of this crowd all of
/// whose taps were answered.
fn listed_was_told(evidence: &Evidence) -> Verdict {
    let winners = read_or_return!(&evidence.books.winners, "the winners' list");
    let ours: HashMap<&str, u32> = (0..)
        .zip(&evidence.users)
        .map(|(index, user)| (user.as_str(), index))
        .collect();
    let told: HashSet<(u32, PacketId)> = evidence.told.iter().map(|t| (t.user, t.packet)).collect();
    let mut finding = Finding::default();
    let mut examined = 0;
    for winner in winners {
        let Some(&user) = ours.get(winner.user.as_str()) else {
            continue;
        };
        let marks = evidence.marks[user as usize];
        let before = winner.claimed_at < evidence.run_began;
        if before || marks.unsettled() || !marks.tapped() {
            continue;
        }
        examined += 1;
        if !told.contains(&(user, winner.packet)) {
            finding.add(|| {
                let (packet, user) = (winner.packet, &winner.user);
                format!("packet {packet} is listed for `{user}`, who was never told of it")
            });
        }
    }
    finding.verdict(examined)
}

fn no_packet_twice(evidence: &Evidence) -> Verdict {
    let winners = read_or_return!(&evidence.books.winners, "the winners' list");
    let mut finding = Finding::default();
    let mut first: HashMap<PacketId, &Winner> = HashMap::new();
    for winner in winners {
        if let Some(before) = first.insert(winner.packet, winner) {
            finding.add(|| {
                let packet = winner.packet;
                format!(
                    "packet {packet} is listed for `{}` and for `{}`",
                    before.user, winner.user
                )
            });
        }
    }
    finding.verdict(winners.len())
}

fn win_limit(evidence: &Evidence) -> Verdict {
    let winners = read_or_return!(&evidence.books.winners, "the winners' list");
    let terms = read_or_return!(&evidence.books.terms, "the win limit");
    let Some(limit) = terms.win_limit else {
        let why = "the server does not say the win limit".to_owned();
        return Verdict::NotChecked { why };
    };
    let periods = match Periods::of(limit.per, terms) {
        Ok(periods) => periods,
        Err(why) => {
            return Verdict::NotChecked {
                why: why.to_owned(),
            };
        }
    };
    let mut finding = Finding::default();
    for above in periods.above(winners, limit.count) {
        finding.add(|| {
            let (user, wins, allowed) = (above.user, above.wins, above.allowed);
            format!("`{user}` has {wins} wins where {allowed} are allowed")
        });
    }
    finding.verdict(winners.len())
}

fn sums_agree(evidence: &Evidence) -> Verdict {
    let winners = read_or_return!(&evidence.books.winners, "the winners' list");
    let (before, after) = read_or_return!(&evidence.books.audits, "the server's audit");
    let count = winners.len() as u64;
    let sum: u128 = winners.iter().map(|w| u128::from(w.amount.units())).sum();
    let mut finding = Finding::default();
    // Others may claim while the list is read; then the list lies between the two audits.
    let counts = before.packets.claimed..=after.packets.claimed;
    if !counts.contains(&count) {
        finding.add(|| {
            format!(
                "the list has {count} wins; the audit counts {}",
                between(counts.start(), counts.end())
            )
        });
    }
    let sums = u128::from(before.claimed.units())..=u128::from(after.claimed.units());
    if !sums.contains(&sum) {
        finding.add(|| {
            format!(
                "the list adds up to {sum}; the audit says {}",
                between(sums.start(), sums.end())
            )
        });
    }
    finding.verdict(winners.len())
}

fn between<T: std::fmt::Display + PartialEq>(low: T, high: T) -> String {
    if low == high {
        low.to_string()
    } else {
        format!("{low} to {high}")
    }
}

fn server_balanced(evidence: &Evidence) -> Verdict {
    let (before, after) = read_or_return!(&evidence.books.audits, "the server's audit");
    let mut finding = Finding::default();
    for audit in [before, after] {
        if !audit.balanced {
            finding.add(|| "the server says `balanced`: false".to_owned());
        }
        let faults = [
            ("double_claims", audit.double_claims),
            ("over_limit", audit.over_limit),
            ("wrong_amounts", audit.wrong_amounts),
        ];
        for (name, count) in faults {
            if count > 0 {
                finding.add(|| format!("the server says `{name}`: {count}"));
            }
        }
        let parts = Fen::checked_sum([audit.claimed, audit.unclaimed, audit.refunded]);
        if parts != Some(audit.budget) {
            finding.add(|| {
                format!(
                    "claimed {} + unclaimed {} + refunded {} is not the budget {}",
                    audit.claimed, audit.unclaimed, audit.refunded, audit.budget
                )
            });
        }
        let packets = &audit.packets;
        let parts = u128::from(packets.claimed)
            + u128::from(packets.unclaimed)
            + u128::from(packets.refunded);
        if parts != u128::from(packets.total) {
            finding.add(|| {
                format!(
                    "{} + {} + {} packets are not the total {}",
                    packets.claimed, packets.unclaimed, packets.refunded, packets.total
                )
            });
        }
    }
    finding.verdict(2)
}

fn own_wins_agree(evidence: &Evidence) -> Verdict {
    let sample = read_or_return!(&evidence.books.own_wins, "users' own wins");
    let mut told: HashMap<u32, HashSet<(PacketId, Fen)>> = HashMap::new();
    for one in &evidence.told {
        told.entry(one.user)
            .or_default()
            .insert((one.packet, one.amount));
    }
    let mut listed: HashMap<&str, HashSet<(PacketId, Fen)>> = HashMap::new();
    let list_read = if let Source::Read(winners) = &evidence.books.winners {
        for winner in winners {
            let rows = listed.entry(winner.user.as_str()).or_default();
            rows.insert((winner.packet, winner.amount));
        }
        true
    } else {
        false
    };
    let nothing = HashSet::new();
    let mut finding = Finding::default();
    for (index, own) in sample {
        let user = &evidence.users[*index as usize];
        let own: HashSet<_> = own
            .iter()
            .map(|packet| (packet.id, packet.amount))
            .collect();
        for (packet, amount) in told.get(index).unwrap_or(&nothing).difference(&own) {
            finding.add(|| {
                format!("`{user}` was told of packet {packet} with {amount}, and does not see it")
            });
        }
        // A claim of a tap that is still unsettled may have come after the list was read.
        if list_read && !evidence.marks[*index as usize].unsettled() {
            let rows = listed.get(user.as_str()).unwrap_or(&nothing);
            for (packet, amount) in rows.symmetric_difference(&own) {
                let (sees, is) = if own.contains(&(*packet, *amount)) {
                    ("sees", "is not")
                } else {
                    ("does not see", "is")
                };
                finding.add(|| {
                    format!("`{user}` {sees} packet {packet} with {amount}, which {is} in the list")
                });
            }
        }
    }
    finding.verdict(sample.len())
}

#[cfg(test)]
#[path = "checks_tests.rs"]
mod tests;
