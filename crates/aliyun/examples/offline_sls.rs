//! The offline SLS alone, for the vendor's SDKs: `offline_sls <port> [<folder>]`, with the key
//! `testid` and the secret `testsecret`. Ends when its input ends.

use std::{
    io::Read as _,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use aliyun::{
    server::serve,
    sign::Credentials,
    sls::server::{SlsServer, SlsServerOptions},
};
use rules::{Clock, Timestamp};
use tokio_util::sync::CancellationToken;

/// The machine's clock.
struct Wall;

impl Clock for Wall {
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "SDKs date their requests by it")]
        let now = SystemTime::now();
        let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_micros(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
    }
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let port = arguments.next().unwrap_or_else(|| "0".into());
    let mut options = SlsServerOptions::new(Credentials::new("testid", "testsecret"));
    options.folder = arguments.next().map(Into::into);
    let sls = SlsServer::open(options, Arc::new(Wall))?;
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    println!("http://{}", listener.local_addr()?);
    let shutdown = CancellationToken::new();
    let ending = shutdown.clone();
    std::thread::spawn(move || {
        let mut input = Vec::new();
        if let Err(error) = std::io::stdin().read_to_end(&mut input) {
            eprintln!("the input cannot be read: {error}");
        }
        ending.cancel();
    });
    serve(listener, Arc::new(sls), shutdown).await;
    Ok(())
}
