//! `GET /redpacket/campaigns/{id}/events`: what changes, as server-sent events.
//!
//! Each event carries the campaign's whole public state, so a listener that missed some is
//! right again with the next one. Ids are the ledger's version of the change, the same on every
//! node, so `Last-Event-ID` works wherever a listener reconnects.

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{body::Body, extract::State, response::Response};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use http::{HeaderMap, HeaderValue, header};
use ledger::Campaign;
use rules::Timestamp;
use tokio::sync::{Semaphore, broadcast};

use super::{Redpacket, rain::Rain, winners::lock};
use crate::http::{ApiError, CampaignPath, Place, campaign_json::PublicCampaign};

/// How many past events a listener can catch up on; one that missed more gets a `state`.
const KEPT_EVENTS: usize = 32;
/// A comment is sent this often, so that proxies and phones keep the connection.
const COMMENT_EVERY: Duration = Duration::from_secs(15);

/// An event as it goes over the wire.
#[derive(Clone)]
struct Event {
    id: Arc<str>,
    frame: Bytes,
}

/// The events of one campaign.
pub(crate) struct Events {
    kept: Mutex<VecDeque<Event>>,
    live: broadcast::Sender<Event>,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            kept: Mutex::default(),
            live: broadcast::Sender::new(KEPT_EVENTS),
        }
    }
}

impl Events {
    /// Tells how `after` differs from `before`.
    pub(crate) fn tell_change(&self, before: &Campaign, after: &Campaign, now: Timestamp) {
        let ended = after.closed_at.is_some() && before.closed_at.is_none();
        let opened = after.openings() > before.openings();
        let name = match (ended, opened) {
            (true, _) => "ended",
            (false, true) => "wave_opened",
            (false, false) => "state",
        };
        self.tell(name, &after.version.to_string(), after, now);
    }

    /// Tells that every packet is claimed and no wave will come.
    pub(crate) fn tell_sold_out(&self, campaign: &Campaign, now: Timestamp) {
        self.tell(
            "sold_out",
            &format!("{}-sold-out", campaign.version),
            campaign,
            now,
        );
    }

    fn tell(&self, name: &str, id: &str, campaign: &Campaign, now: Timestamp) {
        let event = Event {
            id: id.into(),
            frame: frame(name, id, campaign, now),
        };
        let mut kept = lock(&self.kept);
        if kept.iter().any(|one| one.id == event.id) {
            return;
        }
        if kept.len() == KEPT_EVENTS {
            kept.pop_front();
        }
        kept.push_back(event.clone());
        // Sent under the lock, so that a new listener sees each event once. An error means
        // that nobody listens.
        let _nobody_listens = self.live.send(event).is_err();
    }

    /// The events after `last`, or the present state when `last` is unknown; then what comes.
    fn listen(
        &self,
        last: Option<&str>,
        rain: &Rain,
        now: Timestamp,
    ) -> (Vec<Bytes>, broadcast::Receiver<Event>) {
        let kept = lock(&self.kept);
        // Read under the lock: at least as new as the last event kept, whose id it may get.
        let campaign = &rain.view().campaign;
        let live = self.live.subscribe();
        let seen = last.and_then(|last| kept.iter().position(|event| *event.id == *last));
        let missed = match seen {
            Some(place) => kept
                .iter()
                .skip(place + 1)
                .map(|event| event.frame.clone())
                .collect(),
            None => {
                let id = kept.back().map_or_else(
                    || campaign.version.to_string(),
                    |event| event.id.to_string(),
                );
                vec![frame("state", &id, campaign, now)]
            }
        };
        (missed, live)
    }
}

fn frame(name: &str, id: &str, campaign: &Campaign, now: Timestamp) -> Bytes {
    let data = serde_json::to_string(&PublicCampaign::new(campaign, now))
        .expect("plain data always serialises");
    format!("event: {name}\nid: {id}\ndata: {data}\n\n").into()
}

/// Answers with the events of campaign `id`, the present state first.
#[utoipa::path(
    get,
    path = "/redpacket/campaigns/{id}/events",
    tag = "redpacket",
    params(("id" = String, Path), ("Last-Event-ID" = Option<String>, Header)),
    responses(
        (status = 200, content_type = "text/event-stream",
            description = "Events `state`, `wave_opened`, `sold_out` and `ended`, each with the campaign as data"),
        (status = 404, description = "`no_such_campaign`"),
        (status = 503, description = "`unavailable`: as many listen already as may; ask for the campaign now and then"),
    )
)]
pub(super) async fn events(
    State(redpacket): State<Arc<Redpacket>>,
    CampaignPath(id): CampaignPath,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let rain = redpacket.rain(id).ok_or_else(ApiError::no_such_campaign)?;
    let last = headers
        .get("last-event-id")
        .and_then(|value| value.to_str().ok());
    let place = place(&redpacket.streams)?;
    let now = redpacket.ledger.now();
    let (missed, live) = rain.events.listen(last, &rain, now);
    let body = Body::from_stream(
        stream::iter(missed)
            .chain(follow(live, place))
            .take_until(redpacket.streams_ending.clone().cancelled_owned())
            .map(Ok::<_, Infallible>),
    );
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Told to proxies that would otherwise hold events back to fill a buffer.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

/// What comes, with a comment when nothing came for a while. Ends when the listener fell so far
/// behind that events were dropped; it reconnects and catches up by `Last-Event-ID`.
fn follow(live: broadcast::Receiver<Event>, place: Place) -> impl Stream<Item = Bytes> {
    stream::unfold((live, place), |(mut live, place)| async {
        let frame = match tokio::time::timeout(COMMENT_EVERY, live.recv()).await {
            Ok(Ok(event)) => event.frame,
            Ok(Err(_)) => return None,
            Err(_) => Bytes::from_static(b": still here\n\n"),
        };
        Some((frame, (live, place)))
    })
}

/// A place among the streams that may be, so that connections are left for grabs.
fn place(places: &Arc<Semaphore>) -> Result<Place, ApiError> {
    let Ok(permit) = places.clone().try_acquire_owned() else {
        metrics::counter!("hongbao_event_streams_refused_total").increment(1);
        let message = "as many listen already as may; ask for the campaign now and then";
        return Err(ApiError::unavailable(message));
    };
    Ok(Place::new(permit, metrics::gauge!("hongbao_event_streams")))
}
