//! Our client of SLS beside the vendor's SDKs: `sls_client <endpoint> <project> <logstore>`, with
//! the key `testid` and the secret `testsecret`. Puts one log, `client` = `ours`, and prints how
//! many logs each client has put, a line each.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use aliyun::{
    sign::Credentials,
    sls::{
        Client, Patience, Signature,
        model::Query,
        proto::{Log, LogGroup},
    },
};
use rules::{Clock, Timestamp};

/// The machine's clock.
struct Wall;

impl Clock for Wall {
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "requests are dated by it")]
        let now = SystemTime::now();
        let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_micros(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [endpoint, project, logstore] = arguments.as_slice() else {
        return Err("sls_client <endpoint> <project> <logstore>".into());
    };
    let credentials = Credentials::new("testid", "testsecret");
    let signature = Signature::V4 {
        region: "cn-hangzhou".to_owned(),
    };
    let (clock, patience) = (Arc::new(Wall), Patience::default());
    let client = Client::open(endpoint, project, credentials, signature, clock, patience)?;
    let now = Wall.now().micros() / 1_000_000;
    let log = Log::new(u32::try_from(now)?, [("client", "ours"), ("n", "1")]);
    let group = LogGroup {
        logs: vec![log],
        ..LogGroup::default()
    };
    client.put_logs(logstore, &group).await?;
    let query = "* | select client, count(*) as logs group by client order by client";
    let query = Query::new(now - 600, now + 60, query);
    for row in client.get_logs(logstore, &query).await?.data {
        println!("{} {}", row["client"], row["logs"]);
    }
    Ok(())
}
