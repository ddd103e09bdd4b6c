//! Logs, statistics and histograms out.

use std::time::Instant;

use bytes::Bytes;
use http::Response;
use serde::{Serialize, Serializer, ser::SerializeMap as _};
use serde_json::{Value as Json, json};

use super::{
    Asked, SlsServer,
    reply::{Refusal, json_reply, set},
    state::{Logstore, Row},
    table::{Cells, Table},
};
use crate::sls::{
    proto::compress,
    query::{self, Parts, search, sql},
};

/// The most logs that one request returns; statements return more.
const LINES_MAX: usize = 100;
/// The most intervals of a histogram.
const INTERVALS_MAX: i64 = 60;
/// No interval of a histogram is shorter, in seconds.
const INTERVAL_SECONDS_MIN: i64 = 60;

/// What a request asks for.
struct Wanted {
    from: i64,
    to: i64,
    query: String,
    topic: String,
    line: usize,
    offset: usize,
    reverse: bool,
    power_sql: bool,
}

/// One answered log or row, its fields in order.
struct Shown(Vec<(String, String)>);

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

struct Answer {
    data: Vec<Shown>,
    /// Names of a statement's columns.
    columns: Vec<String>,
    /// Logs in the interval, found or not.
    processed: usize,
    search: String,
    sql: String,
    elapsed_ms: u128,
}

impl Wanted {
    /// By `get`, the parameters by their names.
    fn read(get: impl Fn(&str) -> Option<String>) -> Result<Self, Refusal> {
        let number = |name: &str| match get(name) {
            None => Ok(None),
            Some(text) => match text.parse::<i64>() {
                Ok(number) => Ok(Some(number)),
                Err(_) => Err(Refusal::parameter(format!("{name} {text} is invalid"))),
            },
        };
        let needed = |name: &str| {
            let message = format!("parameter {name} is missing");
            number(name)?.ok_or_else(|| Refusal::parameter(message))
        };
        let query = get("query").unwrap_or_default();
        // Rows are a matter of the statement's LIMIT, whatever else is sent: the vendor's Python
        // SDK sends a line of -1.
        let has_sql = query::split(&query).sql.is_some();
        let size = |name: &str, usual: usize| {
            if has_sql {
                return Ok(usual);
            }
            let number = number(name)?.map_or(Ok(usual), usize::try_from);
            number.map_err(|_| Refusal::parameter(format!("{name} is negative")))
        };
        let flag = |name: &str| get(name).is_some_and(|text| text.eq_ignore_ascii_case("true"));
        let mut wanted = Self {
            from: needed("from")?,
            to: needed("to")?,
            topic: get("topic").unwrap_or_default(),
            line: size("line", LINES_MAX)?.min(LINES_MAX),
            offset: size("offset", 0)?,
            query,
            reverse: flag("reverse"),
            power_sql: flag("powerSql"),
        };
        if wanted.from >= wanted.to {
            let message = "request time range is invalid";
            return Err(Refusal::bad("InvalidTimeRange", message));
        }
        // No log is from before or after the times that it can carry.
        wanted.from = wanted.from.max(0);
        wanted.to = wanted.to.clamp(0, i64::from(u32::MAX) + 1).max(wanted.from);
        Ok(wanted)
    }

    fn from_query(asked: &Asked<'_>) -> Result<Self, Refusal> {
        Self::read(|name| asked.parameter(name).map(str::to_owned))
    }

    /// The logs in the interval, and how many of the first kind: found ones, of all.
    fn find<'a>(&self, store: &'a Logstore) -> Result<(Vec<&'a Row>, usize), Refusal> {
        let Parts { search, .. } = query::split(&self.query);
        let search = search::parse(search).map_err(Refusal::parameter)?;
        let table = Table::new(store.index.as_ref());
        table.check(&search)?;
        let mut processed = 0;
        let mut found = Vec::new();
        for row in &store.rows {
            if !(self.from..self.to).contains(&row.time.into()) {
                continue;
            }
            processed += 1;
            let topic = self.topic.is_empty() || self.topic == row.origin.topic;
            if topic && search.finds(&Cells(&table, row)) {
                found.push(row);
            }
        }
        Ok((found, processed))
    }

    fn answer(&self, store: &Logstore) -> Result<Answer, Refusal> {
        let started = Instant::now();
        let Parts { search, sql } = query::split(&self.query);
        let (mut found, processed) = self.find(store)?;
        let (data, columns) = match sql {
            Some(sql) => self.statistics(store, &found, sql)?,
            None => {
                // By the minute, as the service sorts; within it as they came.
                found.sort_by_key(|row| row.time / 60);
                if self.reverse {
                    found.reverse();
                }
                let page = found.into_iter().skip(self.offset).take(self.line);
                (page.map(shown).collect(), Vec::new())
            }
        };
        Ok(Answer {
            data,
            columns,
            processed,
            search: search.to_owned(),
            sql: sql.unwrap_or("").to_owned(),
            elapsed_ms: started.elapsed().as_millis().max(1),
        })
    }

    fn statistics(
        &self,
        store: &Logstore,
        found: &[&Row],
        sql: &str,
    ) -> Result<(Vec<Shown>, Vec<String>), Refusal> {
        let table = Table::new(store.index.as_ref());
        let select = sql::parse(sql).map_err(|error| Refusal::parameter(error.0))?;
        let relation = sql::run(
            &select,
            &|columns| table.relation(found, columns),
            &(self.from..self.to),
        )
        .map_err(|error| Refusal::parameter(error.0))?;
        let mut columns = relation.columns;
        let mut rows: Vec<Vec<(String, String)>> = Vec::new();
        for row in relation.rows {
            let values = row.iter().map(sql::Value::to_string);
            rows.push(columns.iter().cloned().zip(values).collect());
        }
        // JSON has no two fields of one name: of columns of one name, the last counts.
        for (at, name) in columns.clone().iter().enumerate().rev() {
            if columns[at + 1..].contains(name) {
                columns.remove(at);
                for row in &mut rows {
                    row.remove(at);
                }
            }
        }
        // Every row also says where and when it is from: nowhere, and the interval's start.
        for (name, value) in [
            ("__source__", String::new()),
            ("__time__", self.from.to_string()),
        ] {
            if !columns.iter().any(|column| column == name) {
                columns.push(name.to_owned());
                for row in &mut rows {
                    row.push((name.to_owned(), value.clone()));
                }
            }
        }
        Ok((rows.into_iter().map(Shown).collect(), columns))
    }
}

fn shown(row: &Row) -> Shown {
    let origin = &row.origin;
    let mut shown = vec![
        ("__time__".to_owned(), row.time.to_string()),
        ("__source__".to_owned(), origin.source.clone()),
        ("__topic__".to_owned(), origin.topic.clone()),
    ];
    let tags = origin.tags.iter();
    shown.extend(tags.map(|(key, value)| (format!("__tag__:{key}"), value.clone())));
    for (key, value) in &row.fields {
        // JSON has no two fields of one name: the last counts.
        shown.retain(|(known, _)| **known != **key);
        shown.push((key.to_string(), value.to_string()));
    }
    Shown(shown)
}

impl SlsServer {
    fn answer_query(
        &self,
        asked: &Asked<'_>,
        store: &str,
        wanted: &Wanted,
    ) -> Result<Answer, Refusal> {
        self.read(|state| wanted.answer(state.logstore(asked, store)?))
    }

    /// GetLogs of version 1: parameters in the query, counts in headers.
    pub(super) fn get_logs_v1(
        &self,
        asked: &Asked<'_>,
        store: &str,
    ) -> Result<Response<Bytes>, Refusal> {
        self.read(|state| state.logstore(asked, store).map(|_| ()))?;
        let wanted = Wanted::from_query(asked)?;
        let answer = self.answer_query(asked, store, &wanted)?;
        let mut response = json_reply(&answer.data);
        set(&mut response, "x-log-progress", "Complete");
        set(&mut response, "x-log-count", answer.data.len());
        set(&mut response, "x-log-processed-rows", answer.processed);
        let elapsed = answer.elapsed_ms;
        set(&mut response, "x-log-elapsed-millisecond", elapsed);
        set(&mut response, "x-log-has-sql", !answer.sql.is_empty());
        Ok(response)
    }

    /// GetLogs of versions 2 and 3: parameters and counts in JSON.
    pub(super) fn get_logs(
        &self,
        asked: &Asked<'_>,
        store: &str,
    ) -> Result<Response<Bytes>, Refusal> {
        self.read(|state| state.logstore(asked, store).map(|_| ()))?;
        let body: Json = serde_json::from_slice(asked.body)
            .map_err(|e| Refusal::bad("PostBodyInvalid", format!("the body is no JSON: {e}")))?;
        let wanted = Wanted::read(|name| match body.get(name)? {
            Json::Null => None,
            Json::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        })?;
        let answer = self.answer_query(asked, store, &wanted)?;
        let meta = json!({
            "progress": "Complete",
            "count": answer.data.len(),
            "processedRows": answer.processed,
            "elapsedMillisecond": u64::try_from(answer.elapsed_ms).unwrap_or(u64::MAX),
            "hasSQL": !answer.sql.is_empty(),
            "whereQuery": answer.search,
            "aggQuery": answer.sql,
            "cpuSec": 0.0,
            "cpuCores": 0,
            "mode": 0,
            "processedBytes": 0,
            "limited": 0,
            "telementryType": "",
            "powerSql": wanted.power_sql,
            "insertedSQL": "",
            "keys": answer.columns,
            "terms": [],
            "marker": "",
            "isAccurate": true,
            "columnTypes": [],
        });
        #[derive(Serialize)]
        struct Body {
            meta: Json,
            data: Vec<Shown>,
        }
        let data = answer.data;
        let mut response = json_reply(&Body { meta, data });
        let accepted = asked.header("accept-encoding").unwrap_or("");
        if accepted.split(',').any(|name| name.trim() == "lz4") {
            let raw = response.body().len();
            let body = compress(response.body());
            *response.body_mut() = body;
            set(&mut response, "x-log-bodyrawsize", raw);
            set(&mut response, "x-log-compresstype", "lz4");
        }
        Ok(response)
    }

    /// How many logs a search finds in each part of the interval.
    pub(super) fn get_histograms(
        &self,
        asked: &Asked<'_>,
        store: &str,
    ) -> Result<Response<Bytes>, Refusal> {
        self.read(|state| {
            let store = state.logstore(asked, store)?;
            let wanted = Wanted::from_query(asked)?;
            let (found, _) = wanted.find(store)?;
            let length = wanted.to.saturating_sub(wanted.from);
            let interval = INTERVAL_SECONDS_MIN.max(length / INTERVALS_MAX + 1);
            // No interval ends behind the last one that holds anything the caller asked for.
            let intervals = (length + interval - 1) / interval;
            let mut counts = vec![0_u64; usize::try_from(intervals).unwrap_or(0)];
            for row in &found {
                let place = (i64::from(row.time) - wanted.from) / interval;
                if let Some(count) = usize::try_from(place)
                    .ok()
                    .and_then(|at| counts.get_mut(at))
                {
                    *count += 1;
                }
            }
            let part = |(at, count): (i64, &u64)| {
                let from = wanted.from + at * interval;
                let to = (from + interval).min(wanted.to);
                json!({"from": from, "to": to, "count": count, "progress": "Complete"})
            };
            let parts: Vec<Json> = (0..).zip(&counts).map(part).collect();
            let mut response = json_reply(&parts);
            set(&mut response, "x-log-progress", "Complete");
            set(&mut response, "x-log-count", found.len());
            Ok(response)
        })
    }
}
