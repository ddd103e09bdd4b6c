//! The project, the log store and its index, made when missing.

use aliyun::sls::{Client, SlsError, model::NewLogstore};

use super::{ShipperOptions, record};

/// Makes what is missing. What is there is left as it is.
pub(super) async fn set_up(client: &Client, options: &ShipperOptions) -> Result<(), SlsError> {
    let ShipperOptions {
        project, logstore, ..
    } = options;
    if !client.has_project().await? {
        client.create_project("Hongbao").await?;
        tracing::info!(project, "made the SLS project");
    }
    if !client.has_logstore(logstore).await? {
        let wanted = NewLogstore {
            logstore_name: logstore.clone(),
            ttl: options.ttl_days,
            shard_count: 2,
            auto_split: true,
            max_split_shard: 64,
        };
        client.create_logstore(&wanted).await?;
        tracing::info!(logstore, "made the SLS log store");
    }
    if client.index(logstore).await?.is_none() {
        client.create_index(logstore, &record::index()).await?;
        tracing::info!(logstore, "made the index of the SLS log store");
    }
    Ok(())
}

/// Whether `error` says that something is missing that [`set_up`] makes.
pub(super) fn is_missing(error: &SlsError) -> bool {
    ["ProjectNotExist", "LogStoreNotExist"]
        .iter()
        .any(|code| error.is(code))
}
