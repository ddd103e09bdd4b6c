//! `hongbao check`: tests configuration and backends without serving.

use std::{process::ExitCode, sync::Arc};

use aliyun::sls::SlsError;
use anyhow::Context as _;
use eventlog::sls::StartError;
use services::account::{asking::Verifier as _, remote::RemoteAccount};

use crate::{
    config::{QueueAt, Settings, SlsAt},
    secrets::Told,
    serve::{
        Role,
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
    settings.public_url(settings.listen())?;
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
    let told = plan.told(&settings)?;
    let opened = Opened::open(&plan.database).await?;
    let looked = look_at_backends(&plan, &settings, told, &opened).await;
    opened.close().await;
    looked
}

async fn look_at_backends(
    plan: &Plan,
    settings: &Settings,
    told: Told,
    opened: &Opened,
) -> anyhow::Result<()> {
    let role = plan.role;
    look_at_ledger(plan, opened, settings.allow_weak_durability == Some(true)).await?;
    let secrets = plan.secrets(settings, told, opened).await?;
    println!("well: the secrets are there");
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
    if role.is_account()
        && let Some(attempts) = backends::attempts(plan, opened)?
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
    let ledger = opened.ledger();
    ledger.ping().await?;
    println!("well: the ledger {} answers", plan.database);
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
