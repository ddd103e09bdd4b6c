//! `hongbao check`: tests configuration and backends without serving, and without changing
//! anything: no secret is drawn, no table and no folder is made.

use std::{fs::OpenOptions, io, path::Path, process::ExitCode, sync::Arc};

use aliyun::sls::SlsError;
use anyhow::Context as _;
use eventlog::sls::StartError;
use ledger::{OpenError, ServerLedger, SqliteLedger, SystemClock, server::SCHEMA as SERVER_SCHEMA};
use services::account::{asking::Verifier as _, remote::RemoteAccount};

use crate::{
    config::{AttemptsAt, Database, QueueAt, Settings, SlsAt},
    serve::{
        self, Role,
        backends::{self, Opened, answers},
        places::Place,
        plan::Plan,
        wiring::shipping_folder,
    },
    telemetry,
};

/// The exit code for a configuration that is wrong (EX_CONFIG).
pub const EXIT_CONFIG: u8 = 78;

/// Says what is well and what is not, for the services of `role`.
///
/// # Errors
/// When no runtime can be started.
pub fn run(role: Role, settings: Settings) -> anyhow::Result<ExitCode> {
    telemetry::block_on(async {
        Ok(match look(role, settings).await {
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

async fn look(role: Role, settings: Settings) -> anyhow::Result<()> {
    let settings = settings.with_file()?;
    telemetry::filter(&settings)?;
    serve::check_listening(&settings)?;
    let mut places = vec![
        Place::public(role, &settings),
        Place::admin(role, &settings),
    ];
    places.extend(Place::inner(role, &settings));
    for place in places {
        println!("well: {}", place.is_free().await?);
    }
    if role == Role::Webpage {
        return Ok(());
    }
    let plan = Plan::of(role, &settings)?;
    let found = open(&plan.database).await?;
    let looked = look_at_backends(&plan, &settings, found.as_ref()).await;
    if let Some(found) = found {
        found.opened.close().await;
    }
    looked
}

/// A ledger as it is.
struct AsItIs {
    opened: Opened,
    /// Whether its tables are those of this version.
    current: bool,
}

/// The ledger as it is; `None` when there is no file, or one of an earlier version.
async fn open(database: &Database) -> anyhow::Result<Option<AsItIs>> {
    let clock = Arc::new(SystemClock);
    match database {
        Database::Sqlite(path) => match SqliteLedger::open_read_only(path, clock).await {
            Ok(ledger) => Ok(Some(AsItIs {
                opened: Opened::Sqlite(ledger),
                current: true,
            })),
            Err(OpenError::Missing(file)) => {
                println!(
                    "note: {} is not there; the first start makes it",
                    file.display()
                );
                Ok(None)
            }
            Err(OpenError::Older { found, known }) => {
                println!(
                    "note: the ledger {database} has schema {found}; a start migrates it to \
                     {known}, and an older version cannot open it then: make a backup first"
                );
                Ok(None)
            }
            Err(error) => Err(error.into()),
        },
        Database::Server(url) => {
            let opened = ServerLedger::open_unchanged(url, clock).await;
            let (ledger, schema) =
                opened.with_context(|| format!("cannot use the ledger {database}"))?;
            match schema {
                SERVER_SCHEMA => {}
                0 => println!("note: {database} has no tables; the first start makes them"),
                _ => println!(
                    "note: the ledger {database} has schema {schema}; a start migrates it to \
                     {SERVER_SCHEMA}"
                ),
            }
            Ok(Some(AsItIs {
                opened: Opened::Server(ledger),
                current: schema == SERVER_SCHEMA,
            }))
        }
    }
}

async fn look_at_backends(
    plan: &Plan,
    settings: &Settings,
    ledger: Option<&AsItIs>,
) -> anyhow::Result<()> {
    let role = plan.role;
    if let Some(ledger) = ledger {
        look_at_ledger(
            plan,
            &ledger.opened,
            settings.allow_weak_durability == Some(true),
        )
        .await?;
    }
    let current = ledger.filter(|ledger| ledger.current);
    let secrets = plan.found(settings, current.map(|it| &it.opened)).await?;
    match secrets.complete {
        true => println!("well: the secrets are there"),
        false => println!("note: a secret that nobody told is drawn by the first start"),
    }
    if (role.is_redpacket() || role.is_monitor()) && plan.queue != QueueAt::Memory {
        let queue = backends::queue(&plan.queue)?;
        answers(&format!("the queue {}", plan.queue), queue.ping()).await?;
        println!("well: the queue {} answers", plan.queue);
        if let Some(weakness) = queue.weakness().await? {
            println!("note: the queue {}: {weakness}", plan.queue);
        }
    }
    if (role.is_redpacket() || role.is_monitor())
        && let Some(sls) = &plan.sls
    {
        look_at_sls(sls).await?;
        if role.is_redpacket() {
            look_at_shipping(settings)?;
        }
    }
    if role.is_redpacket() {
        look_at_access_log(&settings.access_log())?;
    }
    if role.is_account()
        && let Some(ledger) = ledger
        && (ledger.current || plan.attempts != AttemptsAt::Ledger)
        && let Some(attempts) = backends::attempts(plan, &ledger.opened)?
    {
        let what = format!("what account replicas share, {}", plan.attempts);
        answers(&what, attempts.ping()).await?;
        println!("well: {what}, answers");
    }
    if let Some(said) = plan.remembers_alone() {
        println!("note: {said}");
    }
    if role.is_redpacket()
        && let Some(url) = &plan.account
    {
        let key = secrets.service_key.as_deref().unwrap_or_default();
        let account = Arc::new(RemoteAccount::new(url, key)?);
        answers(&format!("the account service {url}"), account.ping()).await?;
        println!("well: the account service {url} answers");
    }
    Ok(())
}

async fn look_at_sls(sls: &SlsAt) -> anyhow::Result<()> {
    let what = format!("the log service at {sls}");
    let reader = backends::log_statistics(sls)?;
    let mut project_is_there = false;
    let asked = async {
        project_is_there = reader.ping().await?;
        Ok::<_, SlsError>(())
    };
    answers(&what, asked).await?;
    match project_is_there {
        true => println!("well: {what}, answers"),
        false => println!("well: {what}, answers; the project will be made"),
    }
    Ok(())
}

fn look_at_access_log(path: &Path) -> anyhow::Result<()> {
    let shown = path.display();
    match OpenOptions::new().append(true).open(path) {
        Ok(_) => println!("well: the access log {shown} can be written"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            println!("note: the access log {shown} is not there; the first start makes it");
        }
        Err(error) => {
            return Err(error).with_context(|| format!("cannot write the access log {shown}"));
        }
    }
    Ok(())
}

fn look_at_shipping(settings: &Settings) -> anyhow::Result<()> {
    let folder = shipping_folder(settings);
    let shown = folder.display();
    match eventlog::sls::is_in_use(&folder).with_context(|| format!("the folder {shown}"))? {
        true => Err(StartError::InUse(folder).into()),
        false => {
            println!("well: no other process ships from {shown}");
            Ok(())
        }
    }
}

async fn look_at_ledger(plan: &Plan, opened: &Opened, weak_is_allowed: bool) -> anyhow::Result<()> {
    println!("well: the ledger {} answers", plan.database);
    let ledger = opened.ledger();
    let durability = ledger.durability().await?;
    println!("well: {}", durability.meaning);
    if let Some(weakness) = durability.weakness {
        println!("weak: {weakness}");
        if !weak_is_allowed {
            anyhow::bail!(
                "the ledger may lose wins that were answered; mend that, or set \
                 HONGBAO_ALLOW_WEAK_DURABILITY=true"
            );
        }
    }
    Ok(())
}
