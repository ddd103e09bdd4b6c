//! Our client of MNS beside the vendor's SDKs: `mns_client <endpoint> <queue>`, with the key
//! `testid` and the secret `testsecret`. Receives what there is, prints each body on a line and
//! deletes it; then sends two messages, `ours 1` singly and `ours 2` in a batch.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aliyun::{
    mns::{
        Client, Patience,
        model::{BATCH_MAX, NewMessage},
    },
    sign::Credentials,
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
    let [endpoint, queue] = arguments.as_slice() else {
        return Err("mns_client <endpoint> <queue>".into());
    };
    let credentials = Credentials::new("testid", "testsecret");
    let client = Client::open(endpoint, credentials, Arc::new(Wall), Patience::default())?;
    loop {
        let messages = client.receive(queue, BATCH_MAX, Duration::ZERO).await?;
        if messages.is_empty() {
            break;
        }
        let handles = messages.iter().filter_map(|m| m.receipt_handle.clone());
        let refused = client
            .delete_batch(queue, &handles.collect::<Vec<_>>())
            .await?;
        if let Some((handle, why)) = refused.into_iter().next() {
            return Err(format!("{handle} was not deleted: {why}").into());
        }
        for message in messages {
            println!("{}", String::from_utf8(message.bytes())?);
        }
    }
    client.send(queue, &NewMessage::new(b"ours 1")).await?;
    for part in client
        .send_batch(queue, &[NewMessage::new(b"ours 2")])
        .await?
    {
        part.map_err(|why| why.to_string())?;
    }
    Ok(())
}
