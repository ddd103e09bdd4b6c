//! `hongbao check`: tests configuration and backends without serving.

use std::{process::ExitCode, sync::Arc};

use ledger::{Ledger as _, sqlite::SqliteLedger, time::SystemClock};

use crate::{config::Settings, secrets::Secrets, telemetry};

/// The exit code for a configuration that is wrong (EX_CONFIG).
pub const EXIT_CONFIG: u8 = 78;

/// Says what is well and what is not.
///
/// # Errors
/// When no runtime can be started.
pub fn run(settings: Settings) -> anyhow::Result<ExitCode> {
    telemetry::block_on(async {
        Ok(match look(settings).await {
            Ok(()) => {
                println!("all is well");
                ExitCode::SUCCESS
            }
            Err(error) => {
                println!("wrong: {error:#}");
                ExitCode::from(EXIT_CONFIG)
            }
        })
    })
}

async fn look(settings: Settings) -> anyhow::Result<()> {
    let settings = settings.with_file()?;
    settings.memory_queue()?;
    let path = settings.sqlite_path()?;
    settings.public_url(settings.listen())?;
    Secrets::load(&settings)?;
    for (name, address) in [
        ("listen", settings.listen()),
        ("admin-listen", settings.admin_listen()),
    ] {
        drop(
            std::net::TcpListener::bind(address).map_err(|error| {
                anyhow::anyhow!("--{name}: cannot listen on {address}: {error}")
            })?,
        );
        println!("well: --{name} {address} is free");
    }
    let ledger = SqliteLedger::open(&path, Arc::new(SystemClock)).await?;
    ledger.ping().await?;
    println!("well: {}", ledger.durability().await?.meaning);
    ledger.close().await;
    Ok(())
}
