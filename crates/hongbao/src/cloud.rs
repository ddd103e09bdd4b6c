//! `hongbao aliyun`: the cloud's message service and log service on this machine, to develop, test
//! and demonstrate with. It must never be taken for the real ones, and says so.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use aliyun::{
    server::{
        Offline,
        mns::{OfflineMns, Settings as MnsSettings},
        serve,
    },
    sign::Credentials,
    sls::server::{SlsServer, SlsServerOptions},
};
use anyhow::{Context as _, bail};
use clap::Args;
use ledger::SystemClock;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    config::Settings,
    serve::{StopSignals, misconfigured},
    telemetry,
};

/// The key that is taken when none is told.
const KEY_ID: &str = "testid";
/// Its secret: no secret, and shown.
const KEY_SECRET: &str = "testsecret";

/// What the offline cloud is told.
///
/// This is a development tool: it speaks the protocols of MNS and SLS, checks signatures, and
/// knows no accounts and no permissions. Never put it into production.
#[derive(Args)]
pub struct CloudArgs {
    /// Where the message service (MNS) answers.
    #[arg(
        long,
        env = "HONGBAO_ALIYUN_LISTEN",
        value_name = "ADDRESS:PORT",
        default_value = "127.0.0.1:8091"
    )]
    listen: SocketAddr,

    /// Where the log service (SLS) answers.
    #[arg(
        long,
        env = "HONGBAO_ALIYUN_SLS_LISTEN",
        value_name = "ADDRESS:PORT",
        default_value = "127.0.0.1:8092"
    )]
    sls_listen: SocketAddr,

    /// A folder that keeps what they hold [default: none, so that it ends with the process].
    #[arg(long, env = "HONGBAO_ALIYUN_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// The id of the access key that may call [default: testid].
    #[arg(long, env = "ACCESS_KEY_ID", value_name = "ID", hide_env_values = true)]
    access_key_id: Option<String>,

    /// The secret of that access key [default: testsecret].
    #[arg(
        long,
        env = "ACCESS_KEY_SECRET",
        value_name = "SECRET",
        hide_env_values = true
    )]
    access_key_secret: Option<String>,

    /// A file that holds the secret of that access key.
    #[arg(long, env = "ACCESS_KEY_SECRET_FILE", value_name = "FILE")]
    access_key_secret_file: Option<PathBuf>,

    /// Take requests whatever their date, to replay recorded ones.
    #[arg(long, env = "HONGBAO_ALIYUN_ANY_DATE")]
    any_date: bool,
}

impl CloudArgs {
    /// Who may call: the key that was told, or the known one.
    fn key(&self) -> anyhow::Result<(String, String)> {
        let secret = match (&self.access_key_secret, &self.access_key_secret_file) {
            (Some(_), Some(_)) => {
                bail!("ACCESS_KEY_SECRET and ACCESS_KEY_SECRET_FILE are both set; set one")
            }
            (Some(secret), None) => Some(secret.clone()),
            (None, Some(path)) => {
                let text = std::fs::read_to_string(path).with_context(|| {
                    format!("cannot read the access key's secret in {}", path.display())
                })?;
                Some(text.trim_end_matches(['\r', '\n']).to_owned())
            }
            (None, None) => None,
        };
        // An empty variable tells nothing.
        let told = |text: Option<String>| text.filter(|text| !text.is_empty());
        match (told(self.access_key_id.clone()), told(secret)) {
            (None, None) => Ok((KEY_ID.into(), KEY_SECRET.into())),
            (Some(id), Some(secret)) => Ok((id, secret)),
            _ => bail!("ACCESS_KEY_ID and ACCESS_KEY_SECRET belong together; set both or none"),
        }
    }
}

/// Serves both until SIGTERM or Ctrl-C.
///
/// # Errors
/// When a port or the folder cannot be used. Half a key ends with the exit code for settings that
/// cannot be right.
pub async fn run(args: CloudArgs) -> anyhow::Result<ExitCode> {
    let mut stop_signals = StopSignals::new()?;
    telemetry::log(&Settings::default())?;
    let (id, secret) = match args.key() {
        Ok(key) => key,
        Err(error) => return Ok(misconfigured(&error)),
    };
    let key_is_known = secret == KEY_SECRET;
    let credentials = Credentials::new(id.clone(), secret);
    // Bound first: a taken port must not touch the folder.
    let (mns_listener, mns_at) = bind("listen", args.listen).await?;
    let (sls_listener, sls_at) = bind("sls-listen", args.sls_listen).await?;
    let mns = open_mns(&args, credentials.clone())?;
    let sls = open_sls(&args, credentials)?;

    println!("a development tool: the cloud's MNS and SLS offline; never for production");
    match &args.data_dir {
        Some(folder) => println!("kept in {}", folder.display()),
        None => println!("kept nowhere: what they hold ends with this process"),
    }
    match key_is_known {
        true => println!("ACCESS_KEY_ID={id} ACCESS_KEY_SECRET={KEY_SECRET}"),
        false => println!("ACCESS_KEY_ID={id}, with the secret that was told"),
    }
    println!("MNS_URL=http://{mns_at}");
    println!("HONGBAO_SLS_ENDPOINT=http://{sls_at}, with any HONGBAO_SLS_PROJECT");
    println!("listening on http://{mns_at} and http://{sls_at}");

    let stopping = CancellationToken::new();
    let serving = [(mns_listener, mns), (sls_listener, sls)]
        .map(|(listener, offline)| tokio::spawn(serve(listener, offline, stopping.clone())));
    stop_signals.wait().await;
    stopping.cancel();
    for one in serving {
        one.await.context("an offline service has panicked")?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn bind(flag: &str, at: SocketAddr) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(at).await;
    let listener = listener.with_context(|| format!("--{flag}: cannot listen on {at}"))?;
    let bound = listener.local_addr()?;
    Ok((listener, bound))
}

fn open_mns(args: &CloudArgs, credentials: Credentials) -> anyhow::Result<Arc<dyn Offline>> {
    let mut settings = MnsSettings::new(credentials);
    settings.folder = args.data_dir.as_ref().map(|folder| folder.join("mns"));
    if args.any_date {
        settings.skew_max = Duration::MAX;
    }
    let mns = OfflineMns::new(settings, Arc::new(SystemClock));
    Ok(Arc::new(mns.context("--data-dir cannot be used for MNS")?))
}

fn open_sls(args: &CloudArgs, credentials: Credentials) -> anyhow::Result<Arc<dyn Offline>> {
    let mut options = SlsServerOptions::new(credentials);
    options.folder = args.data_dir.as_ref().map(|folder| folder.join("sls"));
    options.any_date = args.any_date;
    let sls = SlsServer::open(options, Arc::new(SystemClock));
    Ok(Arc::new(sls.context("--data-dir cannot be used for SLS")?))
}
