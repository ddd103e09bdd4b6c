//! All winners of a campaign as CSV, streamed page by page.
//!
//! A cell that a spreadsheet would take for a formula is quoted with an apostrophe: a user id is
//! chosen by a stranger, and must not run in the organiser's spreadsheet.

use std::{borrow::Cow, sync::Arc};

use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use futures_util::stream;
use http::header;
use ledger::{Campaign, Winner, WinnersQuery};
use rules::{CampaignId, PacketId};

use super::Monitor;

/// How many winners are read and sent at a time.
const WINNERS_PER_READ: u32 = 1_000;
const HEADER: [&str; 7] = [
    "packet",
    "wave",
    "user",
    "amount",
    "label",
    "claimed_at",
    "redeemed_at",
];

/// Where the stream is.
enum Place {
    /// Nothing was sent.
    Header,
    /// All up to this packet was sent.
    After(Option<PacketId>),
    /// All was sent.
    End,
}

/// All winners that `query` asks for, whatever its limit.
pub(crate) fn all(monitor: Arc<Monitor>, campaign: Campaign, query: WinnersQuery) -> Response {
    let id = campaign.id;
    let state = (monitor, campaign, query, Place::Header);
    let pages = stream::try_unfold(state, async |(monitor, campaign, mut query, place)| {
        let after = match place {
            Place::Header => {
                let place = Place::After(query.after);
                let header = Bytes::from(rows([HEADER.map(Cow::Borrowed)])?);
                let next = (header, (monitor, campaign, query, place));
                return Ok::<_, std::io::Error>(Some(next));
            }
            Place::After(after) => after,
            Place::End => return Ok(None),
        };
        query.after = after;
        query.limit = WINNERS_PER_READ;
        let winners = monitor.ledger.winners(campaign.no, &query).await;
        // The stream breaks off, so that nobody takes a part for the whole.
        let winners = winners.map_err(|error| {
            tracing::warn!(campaign.id = %campaign.id, %error, "an export of winners broke off");
            std::io::Error::other(error)
        })?;
        let last = winners.last().map(|winner| winner.win.packet);
        let place = match last {
            Some(last) if winners.len() == WINNERS_PER_READ as usize => Place::After(Some(last)),
            _ => Place::End,
        };
        let text = rows(winners.iter().map(|winner| cells(&campaign, winner)))?;
        Ok(Some((Bytes::from(text), (monitor, campaign, query, place))))
    });
    with_headers(id, Body::from_stream(pages))
}

/// The export of nobody.
pub(crate) fn none(id: CampaignId) -> Response {
    match rows([HEADER.map(Cow::Borrowed)]) {
        Ok(header) => with_headers(id, Body::from(header)),
        Err(error) => {
            tracing::error!(%error, "a line of CSV could not be written");
            http::StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

fn with_headers(id: CampaignId, body: Body) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"winners-{id}.csv\""),
        ),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    (headers, body).into_response()
}

fn cells<'a>(campaign: &'a Campaign, winner: &'a Winner) -> [Cow<'a, str>; 7] {
    let win = &winner.win;
    let redeemed_at = winner.redeemed_at.map(|at| at.to_string());
    [
        win.packet.to_string().into(),
        win.packet.wave.to_string().into(),
        harmless(winner.user.as_str()),
        win.amount.to_string().into(),
        harmless(
            campaign
                .label(win.packet.wave, win.tier)
                .unwrap_or_default(),
        ),
        win.claimed_at.to_string().into(),
        redeemed_at.unwrap_or_default().into(),
    ]
}

/// `cell` so that no spreadsheet takes it for a formula.
fn harmless(cell: &str) -> Cow<'_, str> {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        format!("'{cell}").into()
    } else {
        cell.into()
    }
}

fn rows<'a>(rows: impl IntoIterator<Item = [Cow<'a, str>; 7]>) -> Result<Vec<u8>, std::io::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.write_record(row.iter().map(|cell| cell.as_bytes()))?;
    }
    writer
        .into_inner()
        .map_err(|error| std::io::Error::other(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_defused_and_the_rest_is_left_alone() {
        for formula in ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx"] {
            assert_eq!(harmless(formula), format!("'{formula}"));
        }
        for plain in ["", "bob", "a=b", "李雷", "'x", "1-2"] {
            assert_eq!(harmless(plain), plain);
        }
    }

    #[test]
    fn cells_with_commas_quotes_and_lines_stay_one_cell() {
        let mut row = HEADER.map(Cow::Borrowed);
        row[2] = "a,\"b\"\nc".into();
        let text = rows([row]).unwrap();
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .from_reader(&text[..]);
        let record = reader.records().next().unwrap().unwrap();
        assert_eq!(&record[2], "a,\"b\"\nc");
        assert_eq!(record.len(), 7);
    }
}
