//! How many grabs ended how, as the log service counts them: each line once, however often it
//! was delivered.

use std::{sync::Arc, time::Duration};

use aliyun::{
    mns::Patience,
    sign::Credentials,
    sls::{
        Client, OpenError, Signature, SlsError,
        model::{Query, Row},
    },
};
use rules::{CampaignId, Clock, Outcome};

use super::setup::is_missing;
use crate::access_log::line::words;

/// The most rows of a statement's answer.
const ROWS_MAX: usize = 100_000;
/// How often a statement is asked at most while the service has not counted all.
const ASKS_MAX: u32 = 4;
/// The pause before it is asked again.
const ASK_PAUSE: Duration = Duration::from_millis(200);

/// Grabs alike, in one part of the time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grabs {
    /// The part's first second since the Unix epoch.
    pub from: i64,
    /// How they ended: `won`, `missed`, …
    pub outcome: String,
    /// Why; empty where there is no reason.
    pub reason: String,
    /// How many.
    pub grabs: u64,
}

impl Grabs {
    /// How they ended; `None` for words of another version.
    #[must_use]
    pub fn kind(&self) -> Option<Outcome> {
        Outcome::all().find(|outcome| {
            let (word, reason) = words(*outcome);
            word == self.outcome && reason.unwrap_or_default() == self.reason
        })
    }
}

/// Why statistics cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum StatisticsError {
    /// The call failed.
    #[error(transparent)]
    Sls(#[from] SlsError),
    /// The service had no time to count all.
    #[error("SLS has not counted all lines; ask again, or for a shorter time")]
    Incomplete,
    /// A row is not what was asked for.
    #[error("SLS answered with a row that is not understood: {0}")]
    Strange(String),
}

/// Reads the statistics of one log store.
#[derive(Debug)]
pub struct Reader {
    client: Client,
    logstore: String,
    place: String,
}

impl Reader {
    /// A reader of `logstore` in `project`; neither need be there yet. To be called within a tokio
    /// runtime.
    ///
    /// # Errors
    /// When the endpoint is of another form.
    pub fn open(
        endpoint: &str,
        (project, logstore): (&str, &str),
        credentials: Credentials,
        signature: Signature,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, OpenError> {
        let patience = Patience::default();
        let client = Client::open(endpoint, project, credentials, signature, clock, patience)?;
        Ok(Self {
            client,
            logstore: logstore.to_owned(),
            place: format!("{project}/{logstore}"),
        })
    }

    /// The project and the log store, as people are shown them.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Whether the service answers and takes the key; says whether the project is there.
    ///
    /// # Errors
    /// Why it does not.
    pub async fn ping(&self) -> Result<bool, SlsError> {
        self.client.has_project().await
    }

    /// See [`read`]. A log store that is not there yet has no grabs.
    ///
    /// # Errors
    /// See [`StatisticsError`].
    pub async fn grabs(
        &self,
        campaign: CampaignId,
        between: (i64, i64),
        part_seconds: u32,
    ) -> Result<Vec<Grabs>, StatisticsError> {
        let read = read(
            &self.client,
            &self.logstore,
            campaign,
            between,
            part_seconds,
        )
        .await;
        match read {
            Err(StatisticsError::Sls(error)) if is_missing(&error) => Ok(Vec::new()),
            read => read,
        }
    }
}

/// The query that counts the grabs of a campaign by outcome, reason and parts of
/// `part_seconds`. A line that was delivered twice counts once: lines are told apart by node
/// and number before their weights are added up.
#[must_use]
pub fn query(campaign: CampaignId, part_seconds: u32) -> String {
    let part = part_seconds.max(1);
    format!(
        "campaign: \"{campaign}\" | select t - t % {part} as part, outcome, reason, \
         sum(weight) as grabs from (select node, seq, max(__time__) as t, max(outcome) as \
         outcome, coalesce(max(reason), '') as reason, max(weight) as weight from log group by \
         node, seq) group by part, outcome, reason order by part, outcome, reason limit \
         {ROWS_MAX}"
    )
}

/// Counts the grabs of a campaign in `[from, to)`, in seconds since the Unix epoch, by outcome,
/// reason and parts of `part_seconds`. What was put in the last three seconds may be missing.
///
/// # Errors
/// See [`StatisticsError`].
pub async fn read(
    client: &Client,
    logstore: &str,
    campaign: CampaignId,
    (from, to): (i64, i64),
    part_seconds: u32,
) -> Result<Vec<Grabs>, StatisticsError> {
    let query = Query::new(from, to, query(campaign, part_seconds));
    // The service goes on counting between two calls: what it had no time for is there soon.
    for asked in 1..=ASKS_MAX {
        let rows = client.get_logs(logstore, &query).await?;
        if rows.meta.is_complete() {
            return rows.data.iter().map(grabs).collect();
        }
        if asked < ASKS_MAX {
            tokio::time::sleep(ASK_PAUSE).await;
        }
    }
    Err(StatisticsError::Incomplete)
}

fn grabs(row: &Row) -> Result<Grabs, StatisticsError> {
    let strange = || StatisticsError::Strange(format!("{row:?}"));
    let text = |name: &str| row.get(name).ok_or_else(strange);
    Ok(Grabs {
        from: text("part")?.parse().map_err(|_| strange())?,
        outcome: text("outcome")?.clone(),
        reason: text("reason")?.clone(),
        grabs: text("grabs")?.parse().map_err(|_| strange())?,
    })
}
