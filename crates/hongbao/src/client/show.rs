//! How campaigns, money, times and tables are written for a person.

use std::io::Write;

use rules::{Fen, Rules, Split, WinLimit};
use serde::Deserialize;
use serde_json::Value;
use unicode_width::UnicodeWidthStr as _;

/// Where a command writes its results.
pub(crate) type Out<'a> = &'a mut (dyn Write + Send);

/// The currency of a campaign and how many decimal places its minor unit has.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Currency {
    /// ISO 4217 code.
    #[serde(default)]
    pub(crate) currency: String,
    /// Decimal places; a server that does not say has currencies of two.
    #[serde(default = "two")]
    currency_exponent: u32,
}

const fn two() -> u32 {
    2
}

impl Currency {
    /// `amount` as people write it and in minor units: `¥1.00 (100)`.
    pub(crate) fn both(&self, amount: Fen) -> String {
        format!("{} ({amount})", self.short(amount))
    }

    /// `amount` as people write it: `¥1.00`.
    pub(crate) fn short(&self, amount: Fen) -> String {
        let sign = match self.currency.as_str() {
            "CNY" | "JPY" => "¥",
            "USD" => "$",
            "EUR" => "€",
            "GBP" => "£",
            "HKD" => "HK$",
            "TWD" => "NT$",
            "KRW" => "₩",
            "INR" => "₹",
            other => &format!("{other} "),
        };
        let units = amount.units();
        // More places than a u64 has digits are a mistake of the server, not a reason to fail.
        let places = self.currency_exponent.min(9);
        let one = 10_u64.pow(places);
        if places == 0 {
            format!("{sign}{units}")
        } else {
            let width = places as usize;
            format!("{sign}{}.{:0width$}", units / one, units % one)
        }
    }
}

/// A campaign as the server shows it to the organiser. What another server leaves out is not
/// shown.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Campaign {
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) state: String,
    #[serde(default)]
    pub(crate) link: Option<String>,
    #[serde(default)]
    pub(crate) starts_at: Option<String>,
    #[serde(default)]
    pub(crate) ends_at: Option<String>,
    #[serde(default)]
    pub(crate) next_wave_at: Option<String>,
    #[serde(default)]
    pub(crate) closed_at: Option<String>,
    #[serde(default)]
    pub(crate) packets_total: u64,
    #[serde(default)]
    pub(crate) packets_issued: Option<u64>,
    #[serde(default)]
    pub(crate) budget: Option<Fen>,
    #[serde(default)]
    pub(crate) split: Option<Split>,
    #[serde(default)]
    pub(crate) win_limit: Option<WinLimit>,
    #[serde(default)]
    pub(crate) rules: Option<Rules>,
    #[serde(default)]
    pub(crate) waves: Vec<Wave>,
    #[serde(default)]
    pub(crate) refunded: Option<Refunded>,
    #[serde(default)]
    pub(crate) halted: Option<String>,
    #[serde(default)]
    pub(crate) split_commitment: Option<String>,
    #[serde(default)]
    pub(crate) split_seed: Option<String>,
    #[serde(flatten)]
    pub(crate) currency: Currency,
}

/// A wave of a campaign.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Wave {
    pub(crate) number: u32,
    pub(crate) packets: u64,
    pub(crate) state: String,
    pub(crate) due_at: String,
    pub(crate) opened_at: Option<String>,
}

/// What a close gave back.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Refunded {
    pub(crate) packets: u64,
    pub(crate) amount: Fen,
}

impl Campaign {
    /// The campaign in a reply.
    pub(crate) fn parse(reply: &Value) -> anyhow::Result<Self> {
        use anyhow::Context as _;
        Self::deserialize(reply).context("the server's campaign is not what the contract says")
    }
}

/// A time of the contract for a person: UTC, without the fraction of the second.
pub(crate) fn utc(time: &str) -> String {
    match time.split_once('T') {
        Some((date, clock)) if time.ends_with('Z') => {
            let clock = clock.trim_end_matches('Z');
            let seconds = clock.split_once('.').map_or(clock, |(seconds, _)| seconds);
            format!("{date} {seconds} UTC")
        }
        _ => printable(time),
    }
}

/// A time that may be missing.
pub(crate) fn utc_or_dash(time: Option<&str>) -> String {
    time.map_or_else(|| "–".to_owned(), utc)
}

/// `text` without control characters: titles and user ids are other people's, and must not
/// steer this terminal.
pub(crate) fn printable(text: &str) -> String {
    let safe = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().map(safe).collect()
}

/// How a column is aligned.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// Writes `rows` below `heads`, each column as wide as its widest cell.
pub(crate) fn table(
    out: Out<'_>,
    heads: &[(&str, Align)],
    rows: &[Vec<String>],
) -> std::io::Result<()> {
    let mut widths: Vec<_> = heads.iter().map(|(head, _)| head.width()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.width().max(*width);
        }
    }
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut text = String::new();
        for ((cell, width), (_, align)) in cells.zip(&widths).zip(heads) {
            let padding = " ".repeat(width - cell.width());
            if !text.is_empty() {
                text.push_str("  ");
            }
            match align {
                Align::Left => text.push_str(&format!("{cell}{padding}")),
                Align::Right => text.push_str(&format!("{padding}{cell}")),
            }
        }
        writeln!(out, "{}", text.trim_end())
    };
    line(&mut heads.iter().map(|(head, _)| *head))?;
    for row in rows {
        line(&mut row.iter().map(String::as_str))?;
    }
    Ok(())
}

/// Writes `name: value` lines with the values below each other.
pub(crate) fn facts(out: Out<'_>, facts: &[(&str, String)]) -> std::io::Result<()> {
    let width = facts.iter().map(|(name, _)| name.width()).max();
    let width = width.unwrap_or_default();
    for (name, value) in facts {
        writeln!(out, "  {name:<width$}  {value}")?;
    }
    Ok(())
}

/// Writes `value` as indented JSON and ends the line.
pub(crate) fn json(out: Out<'_>, value: &Value) -> anyhow::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fen(units: u64) -> Fen {
        Fen::new(units).unwrap()
    }

    #[test]
    fn money_is_written_by_the_currencys_exponent() {
        let shown = |code: &str, exponent, units| {
            let currency = Currency {
                currency: code.to_owned(),
                currency_exponent: exponent,
            };
            currency.both(fen(units))
        };
        assert_eq!(shown("CNY", 2, 100), "¥1.00 (100)");
        assert_eq!(shown("CNY", 2, 5), "¥0.05 (5)");
        assert_eq!(shown("JPY", 0, 1_234), "¥1234 (1234)");
        assert_eq!(shown("KWD", 3, 1_234), "KWD 1.234 (1234)");
        assert_eq!(shown("USD", 2, 0), "$0.00 (0)");
    }

    #[test]
    fn times_are_utc_to_the_second() {
        assert_eq!(utc("2026-12-31T23:59:59.123Z"), "2026-12-31 23:59:59 UTC");
        assert_eq!(utc("2026-12-31T23:59:59Z"), "2026-12-31 23:59:59 UTC");
        assert_eq!(utc("soon"), "soon");
        assert_eq!(utc_or_dash(None), "–");
    }

    #[test]
    fn tables_align_also_where_characters_are_two_columns_wide() {
        let heads = [("title", Align::Left), ("packets", Align::Right)];
        let rows = [
            vec!["新年快乐".to_owned(), "10".to_owned()],
            vec!["New year".to_owned(), "1000".to_owned()],
        ];
        let mut out = Vec::new();
        table(&mut out, &heads, &rows).unwrap();
        let text = String::from_utf8(out).unwrap();
        let expected = "title     packets\n新年快乐       10\nNew year     1000\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn another_persons_text_cannot_steer_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\nc"), "a\u{fffd}[2Jb\u{fffd}c");
    }
}
