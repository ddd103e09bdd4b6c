//! What a line of the access log looks like.
//!
//! Whatever a user id holds, a line is one line to everything that reads it: besides what JSON
//! demands, all that a terminal or another reader may take for a line's end or an instruction is
//! escaped.

use std::{io, net::IpAddr};

use rules::{CampaignId, Fen, GrabId, Outcome, PacketId, Timestamp, UserId};
use serde::Serialize;
use serde_json::ser::Formatter;

use super::Grab;

/// A [`Grab`] on its way to the writer.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) at: Timestamp,
    pub(super) campaign: CampaignId,
    pub(super) user: UserId,
    pub(super) outcome: Outcome,
    pub(super) packet: Option<PacketId>,
    pub(super) amount: Option<Fen>,
    pub(super) grab_id: Option<GrabId>,
    pub(super) ip: Option<IpAddr>,
    pub(super) latency_micros: u64,
}

impl From<&Grab<'_>> for Entry {
    fn from(grab: &Grab<'_>) -> Self {
        Self {
            at: grab.at,
            campaign: grab.campaign,
            user: grab.user.clone(),
            outcome: grab.outcome,
            packet: grab.packet,
            amount: grab.amount,
            grab_id: grab.grab_id,
            ip: grab.ip,
            latency_micros: grab.latency_micros,
        }
    }
}

/// The fields in the order in which they are written.
#[derive(Serialize)]
struct Line<'a> {
    time: Timestamp,
    node: &'a str,
    seq: u64,
    weight: u64,
    campaign: CampaignId,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a UserId>,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    packet: Option<PacketId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    amount: Option<Fen>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grab_id: Option<GrabId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_micros: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aggregated: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
}

/// Writes lines of one node, numbered from 1.
pub(super) struct Lines {
    node: String,
    seq: u64,
}

impl Lines {
    pub(super) fn new(node: u64) -> Self {
        Self {
            node: node_shown(node),
            seq: 0,
        }
    }

    /// The number of the last line.
    pub(super) const fn seq(&self) -> u64 {
        self.seq
    }

    /// Appends the line for one grab to `out`.
    pub(super) fn single(&mut self, out: &mut Vec<u8>, entry: &Entry) {
        let (outcome, reason) = words(entry.outcome);
        self.seq += 1;
        let line = Line {
            time: entry.at,
            node: &self.node,
            seq: self.seq,
            weight: 1,
            campaign: entry.campaign,
            user: Some(&entry.user),
            outcome,
            reason,
            packet: entry.packet,
            amount: entry.amount,
            grab_id: entry.grab_id,
            ip: entry.ip,
            latency_micros: Some(entry.latency_micros),
            aggregated: None,
            count: None,
        };
        put(out, &line);
    }

    /// Appends the line for `count` grabs alike, counted until `at`, to `out`.
    pub(super) fn aggregate(
        &mut self,
        out: &mut Vec<u8>,
        at: Timestamp,
        campaign: CampaignId,
        outcome: Outcome,
        count: u64,
    ) {
        self.seq += 1;
        let (node, seq) = (self.node.as_str(), self.seq);
        aggregate_line(out, (node, seq), at, (campaign, outcome), count);
    }
}

/// The epoch of a node as lines show it: as a number, JavaScript would round it.
pub(crate) fn node_shown(node: u64) -> String {
    format!("{node:016x}")
}

/// Appends the line of this node and number for `count` grabs alike, counted until `at`.
pub(crate) fn aggregate_line(
    out: &mut Vec<u8>,
    (node, seq): (&str, u64),
    at: Timestamp,
    (campaign, outcome): (CampaignId, Outcome),
    count: u64,
) {
    let (outcome, reason) = words(outcome);
    let line = Line {
        time: at,
        node,
        seq,
        weight: count,
        campaign,
        user: None,
        outcome,
        reason,
        packet: None,
        amount: None,
        grab_id: None,
        ip: None,
        latency_micros: None,
        aggregated: Some(true),
        count: Some(count),
    };
    put(out, &line);
}

/// The outcome and its reason as the API writes them.
pub(crate) const fn words(outcome: Outcome) -> (&'static str, Option<&'static str>) {
    match outcome {
        Outcome::Won => ("won", None),
        Outcome::Repeated => ("repeated", None),
        Outcome::Unavailable => ("unavailable", None),
        Outcome::Missed(reason) => ("missed", Some(reason.as_str())),
        Outcome::Rejected(reason) => ("rejected", Some(reason.as_str())),
    }
}

fn put(out: &mut Vec<u8>, line: &Line<'_>) {
    let mut serializer = serde_json::Serializer::with_formatter(&mut *out, OneLine);
    line.serialize(&mut serializer)
        .expect("no field's serialisation fails, and memory takes every byte");
    out.push(b'\n');
}

/// JSON that escapes more than it must.
struct OneLine;

impl Formatter for OneLine {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut written = 0;
        for (place, found) in fragment.match_indices(may_mislead) {
            writer.write_all(&fragment.as_bytes()[written..place])?;
            for unit in found.encode_utf16() {
                write!(writer, "\\u{unit:04x}")?;
            }
            written = place + found.len();
        }
        writer.write_all(&fragment.as_bytes()[written..])
    }
}

/// DEL and the C1 controls, of which some readers take U+0085 for a line's end; the line and
/// paragraph separators; and what turns the direction of text around.
const fn may_mislead(c: char) -> bool {
    matches!(
        c,
        '\u{7f}'..='\u{9f}'
            | '\u{200e}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
            | '\u{feff}'
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rules::{Missed, Rejected};

    use super::*;

    fn entry(user: &str) -> Entry {
        Entry {
            at: Timestamp::from_micros(1_767_225_599_123_456),
            campaign: CampaignId(uuid::Uuid::from_u128(1)),
            user: UserId::trusted(user),
            outcome: Outcome::Won,
            packet: Some(PacketId { wave: 2, index: 17 }),
            amount: Fen::new(88),
            grab_id: Some(GrabId(uuid::Uuid::from_u128(2))),
            ip: Some(IpAddr::from([192, 0, 2, 1])),
            latency_micros: 350,
        }
    }

    fn text(write: impl FnOnce(&mut Lines, &mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut Lines::new(0xabc), &mut out);
        String::from_utf8(out).expect("JSON is UTF-8")
    }

    #[test]
    fn fields_stand_in_a_stable_order() {
        assert_eq!(
            text(|lines, out| lines.single(out, &entry("小明"))),
            concat!(
                r#"{"time":"2025-12-31T23:59:59.123Z","node":"0000000000000abc","seq":1,"#,
                r#""weight":1,"campaign":"00000000-0000-0000-0000-000000000001","user":"小明","#,
                r#""outcome":"won","packet":"2-17","amount":88,"#,
                r#""grab_id":"00000000-0000-0000-0000-000000000002","ip":"192.0.2.1","#,
                r#""latency_micros":350}"#,
                "\n"
            )
        );
        let mut rejected = entry("a");
        (rejected.packet, rejected.amount) = (None, None);
        (rejected.grab_id, rejected.ip) = (None, None);
        rejected.outcome = Outcome::Rejected(Rejected::TooFrequent);
        assert_eq!(
            text(|lines, out| lines.single(out, &rejected)),
            concat!(
                r#"{"time":"2025-12-31T23:59:59.123Z","node":"0000000000000abc","seq":1,"#,
                r#""weight":1,"campaign":"00000000-0000-0000-0000-000000000001","user":"a","#,
                r#""outcome":"rejected","reason":"too_frequent","latency_micros":350}"#,
                "\n"
            )
        );
        assert_eq!(
            text(|lines, out| {
                let (at, campaign) = (Timestamp::from_micros(0), entry("").campaign);
                lines.aggregate(out, at, campaign, Outcome::Missed(Missed::SoldOut), 7);
            }),
            concat!(
                r#"{"time":"1970-01-01T00:00:00.000Z","node":"0000000000000abc","seq":1,"#,
                r#""weight":7,"campaign":"00000000-0000-0000-0000-000000000001","#,
                r#""outcome":"missed","reason":"sold_out","aggregated":true,"count":7}"#,
                "\n"
            )
        );
    }

    fn assert_harmless(user: &str) {
        let line = text(|lines, out| lines.single(out, &entry(user)));
        let (end, body) = (line.chars().last(), &line[..line.len() - 1]);
        assert_eq!(end, Some('\n'));
        assert!(!body.chars().any(|c| c.is_control() || may_mislead(c)));
        let parsed: serde_json::Value = serde_json::from_str(body).expect("valid JSON");
        assert_eq!(parsed["user"], user);
        assert_eq!(parsed["outcome"], "won");
    }

    proptest! {
        #[test]
        fn any_user_id_stays_within_its_field(user in any::<String>()) {
            assert_harmless(&user);
        }
    }

    #[test]
    fn injections_stay_within_their_field() {
        assert_harmless("eve\",\"outcome\":\"rejected\",\"x\":\"");
        assert_harmless("eve\"}\n{\"outcome\":\"won\"}\r\n");
        let controls: String = ('\0'..='\u{a0}').collect();
        assert_harmless(&controls);
        assert_harmless("\\\u{2028}a\u{2029}\u{202e}b\u{1b}[2J\u{9b}2J\u{7f}\u{feff}");
    }
}
