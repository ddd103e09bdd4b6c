//! Fetches what the server keeps, patiently: a read is repeated while the server is away.

use std::{collections::HashSet, sync::Arc, time::Duration};

use http::{HeaderValue, Method};
use serde::de::DeserializeOwned;

use super::{Books, Packet, ServerAudit, Source, Terms, Told, Winner};
use crate::{
    http::{
        contract::{OwnWins, WinnersPage, error_of, retry_after, worth_repeating},
        link::{Link, request},
        target::{Target, query_escape},
    },
    options::Options,
    random::Random,
    run::{login::User, progress::Line},
};

/// How often a read is tried before it counts as failed.
const READ_TRIES: u32 = 10;
/// The pause before the second try; it grows by as much with each further one.
const READ_PAUSE: Duration = Duration::from_millis(300);
/// How long one read may take: an audit makes every amount again.
const READ_WITHIN: Duration = Duration::from_secs(120);
/// How often winners and audits are read again because others claimed in between.
const ROUNDS_MAX: u32 = 3;

/// Reads the books of one campaign.
pub(crate) struct Gatherer<'a> {
    options: &'a Options,
    target: Arc<Target>,
    key: Option<HeaderValue>,
    public_terms: Terms,
    link: Link,
}

type Read<T> = Result<T, String>;

fn source<T>(read: Read<T>) -> Source<T> {
    match read {
        Ok(value) => Source::Read(value),
        Err(why) => Source::Failed(why),
    }
}

impl<'a> Gatherer<'a> {
    /// A reader of the books of the campaign in `options`; `public_terms` are used without a key.
    pub(crate) fn new(
        options: &'a Options,
        target: Arc<Target>,
        key: Option<HeaderValue>,
        public_terms: Terms,
    ) -> Self {
        Self {
            options,
            link: Link::new(target.clone()),
            target,
            key,
            public_terms,
        }
    }

    /// Reads everything that the checks compare.
    pub(crate) async fn gather(mut self, users: &[User], told: &[Told]) -> Books {
        let line = Line::new(self.options.show_progress);
        let (terms, winners, audits) = match self.key.clone() {
            None => {
                let terms = match self.public_terms.win_limit {
                    Some(_) => Source::Read(self.public_terms.clone()),
                    None => Source::NoKey,
                };
                (terms, Source::NoKey, Source::NoKey)
            }
            Some(key) => {
                let terms = self.organiser(&key, "", "the campaign's terms").await;
                let (winners, audits) = self.winners_and_audits(&key, &line).await;
                (source(terms), winners, audits)
            }
        };
        let own_wins = source(self.own_wins(users, told).await);
        line.end("the books are read");
        Books {
            terms,
            winners,
            audits,
            own_wins,
        }
    }

    /// The winners between two audits that agree, or between the last two that were read.
    async fn winners_and_audits(
        &mut self,
        key: &HeaderValue,
        line: &Line,
    ) -> (Source<Vec<Winner>>, Source<(ServerAudit, ServerAudit)>) {
        let what = "the server's audit";
        let mut before: Read<ServerAudit> = self.organiser(key, "/audit", what).await;
        let mut round = 1;
        loop {
            let winners = self.winners(key, line).await;
            let after: Read<ServerAudit> = self.organiser(key, "/audit", what).await;
            let moved = match (&before, &after) {
                (Ok(before), Ok(after)) => before.claimed != after.claimed,
                _ => false,
            };
            if moved && round < ROUNDS_MAX {
                round += 1;
                before = after;
                continue;
            }
            let audits = before.and_then(|before| after.map(|after| (before, after)));
            return (source(winners), source(audits));
        }
    }

    async fn winners(&mut self, key: &HeaderValue, line: &Line) -> Read<Vec<Winner>> {
        let mut winners: Vec<Winner> = Vec::new();
        let mut cursors = HashSet::new();
        let mut below = "/winners".to_owned();
        loop {
            let page: WinnersPage = self.organiser(key, &below, "the winners' list").await?;
            winners.extend(page.winners);
            line.show_live(format!("winners read: {}", winners.len()));
            let Some(cursor) = page.next_cursor else {
                return Ok(winners);
            };
            below = format!("/winners?cursor={}", query_escape(&cursor));
            if !cursors.insert(cursor) {
                return Err("the winners' list: a cursor leads back to an earlier page".to_owned());
            }
        }
    }

    /// The own wins of a sample of users: half of it among those who were told of a win.
    async fn own_wins(&mut self, users: &[User], told: &[Told]) -> Read<Vec<(u32, Vec<Packet>)>> {
        let sample = sample(self.options, users.len(), told);
        let path = format!("/redpacket/campaigns/{}/wins", self.options.campaign);
        let mut own = Vec::with_capacity(sample.len());
        for index in sample {
            let user = &users[index as usize];
            let wins: OwnWins = self
                .get(&path, Some(&user.bearer), "a user's own wins")
                .await?;
            own.push((index, wins.wins.into_iter().map(|win| win.packet).collect()));
        }
        Ok(own)
    }

    async fn organiser<T: DeserializeOwned>(
        &mut self,
        key: &HeaderValue,
        below: &str,
        what: &str,
    ) -> Read<T> {
        let path = format!("/monitor/api/campaigns/{}{below}", self.options.campaign);
        self.get(&path, Some(key), what).await
    }

    async fn get<T: DeserializeOwned>(
        &mut self,
        path: &str,
        bearer: Option<&HeaderValue>,
        what: &str,
    ) -> Read<T> {
        let mut tries = 0;
        loop {
            tries += 1;
            let ask = request(
                &self.target,
                Method::GET,
                self.target.path(path),
                bearer,
                None,
            );
            let (why, asked) = match self.link.call(ask, READ_WITHIN).await {
                Ok(reply) if reply.status.is_success() => {
                    return serde_json::from_slice(&reply.body)
                        .map_err(|cause| format!("{what}: not what the contract says: {cause}"));
                }
                Ok(reply) => {
                    let error = error_of(&reply.body);
                    let status = reply.status.as_u16();
                    let why = format!("{what}: {status} {}: {}", error.code, error.message);
                    if !worth_repeating(reply.status) {
                        return Err(why);
                    }
                    (why, retry_after(&reply.headers))
                }
                Err(lost) => (format!("{what}: {lost}"), None),
            };
            if tries >= READ_TRIES {
                return Err(why);
            }
            let pause = (READ_PAUSE * tries).max(asked.unwrap_or_default());
            tokio::time::sleep(pause.min(READ_PAUSE * READ_TRIES)).await;
        }
    }
}

/// Which users' own wins are read: up to half of the sample winners, the rest anybody.
fn sample(options: &Options, users: usize, told: &[Told]) -> Vec<u32> {
    let mut random = Random::of(&[options.seed, 4]);
    let wanted = options.wins_sample.min(users);
    let mut chosen = HashSet::new();
    let mut winners: Vec<u32> = told.iter().map(|told| told.user).collect();
    winners.sort_unstable();
    winners.dedup();
    while chosen.len() < wanted / 2 && !winners.is_empty() {
        let among = u32::try_from(winners.len()).unwrap_or(u32::MAX);
        chosen.insert(winners.swap_remove(random.below(among) as usize));
    }
    let among = u32::try_from(users).unwrap_or(u32::MAX);
    while chosen.len() < wanted {
        chosen.insert(random.below(among));
    }
    let mut chosen: Vec<u32> = chosen.into_iter().collect();
    chosen.sort_unstable();
    chosen
}
