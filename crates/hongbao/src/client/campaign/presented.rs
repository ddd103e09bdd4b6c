//! A campaign on paper: what `create`, `show` and the steering commands show of it.

use rules::{Eligible, Per, Split, WinLimit};

use crate::client::show::{Align, Campaign, Out, facts, printable, table, utc, utc_or_dash};

/// Writes the campaign's terms, and its waves when `waves` says so.
pub(super) fn present(out: Out<'_>, campaign: &Campaign, waves: bool) -> anyhow::Result<()> {
    writeln!(out, "{}", printable(&campaign.title))?;
    facts(out, &terms(campaign))?;
    if waves && !campaign.waves.is_empty() {
        writeln!(out)?;
        let heads = [
            ("wave", Align::Right),
            ("packets", Align::Right),
            ("state", Align::Left),
            ("due", Align::Left),
            ("opened", Align::Left),
        ];
        let rows: Vec<_> = campaign
            .waves
            .iter()
            .map(|wave| {
                vec![
                    wave.number.to_string(),
                    wave.packets.to_string(),
                    wave.state.clone(),
                    utc(&wave.due_at),
                    utc_or_dash(wave.opened_at.as_deref()),
                ]
            })
            .collect();
        table(out, &heads, &rows)?;
    }
    Ok(())
}

fn terms(campaign: &Campaign) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("id", campaign.id.clone()),
        ("state", campaign.state.clone()),
    ];
    if let Some(halted) = &campaign.halted {
        facts.push(("HALTED", printable(halted)));
    }
    let issued = match campaign.packets_issued {
        Some(issued) => format!(", {issued} issued so far"),
        None => String::new(),
    };
    let waves = match campaign.waves.len() {
        0 => String::new(),
        1 => " in 1 wave".to_owned(),
        n => format!(" in {n} waves"),
    };
    let packets = format!("{}{waves}{issued}", campaign.packets_total);
    facts.push(("packets", packets));
    if let Some(budget) = campaign.budget {
        facts.push(("budget", campaign.currency.both(budget)));
    }
    if let Some(split) = &campaign.split {
        facts.push(("split", split_words(split, campaign)));
    }
    if let Some(limit) = campaign.win_limit {
        facts.push(("win limit", limit_words(limit)));
    }
    facts.extend(rule_words(campaign));
    facts.push(("starts", utc_or_dash(campaign.starts_at.as_deref())));
    if let Some(next) = &campaign.next_wave_at {
        facts.push(("next wave", utc(next)));
    }
    facts.push(("ends", utc_or_dash(campaign.ends_at.as_deref())));
    if let Some(closed) = &campaign.closed_at {
        facts.push(("closed", utc(closed)));
    }
    if let Some(refunded) = &campaign.refunded {
        let amount = campaign.currency.both(refunded.amount);
        let text = format!("{amount} of {} packets", refunded.packets);
        facts.push(("refunded", text));
    }
    if let Some(commitment) = &campaign.split_commitment {
        facts.push(("commitment", commitment.clone()));
    }
    if let Some(seed) = &campaign.split_seed {
        facts.push(("seed", seed.clone()));
    }
    facts
}

fn split_words(split: &Split, campaign: &Campaign) -> String {
    let money = |amount| campaign.currency.both(amount);
    match split {
        Split::Equal { amount } => format!("equal, {} each", money(*amount)),
        Split::Lucky { total, min, max } => {
            let most = match max {
                Some(max) => format!(", at most {}", money(*max)),
                None => String::new(),
            };
            let (total, least) = (money(*total), money(*min));
            format!("lucky, {total} in all, at least {least}{most}")
        }
        Split::Tiers { tiers } => {
            let tiers: Vec<_> = tiers
                .iter()
                .map(|tier| {
                    let label = printable(&tier.label);
                    format!("{} × {} “{label}”", tier.count, money(tier.amount))
                })
                .collect();
            format!("tiers, {}", tiers.join("; "))
        }
    }
}

fn limit_words(limit: WinLimit) -> String {
    let wins = match limit.count {
        1 => "1 win".to_owned(),
        count => format!("{count} wins"),
    };
    match limit.per {
        Per::Campaign => format!("{wins} per user"),
        Per::Wave => format!("{wins} per user and wave"),
        Per::Seconds(seconds) => format!("{wins} per user in {seconds} s"),
    }
}

fn rule_words(campaign: &Campaign) -> Vec<(&'static str, String)> {
    let Some(rules) = &campaign.rules else {
        return Vec::new();
    };
    let mut facts = Vec::new();
    if let Some(seconds) = rules.attempt_window_seconds {
        facts.push(("attempts", format!("one per user in {seconds} s")));
    }
    if rules.discard_probability > 0.0 {
        let percent = rules.discard_probability * 100.0;
        facts.push(("discarded", format!("{percent} % of attempts, at random")));
    }
    match &rules.eligible {
        Eligible::Anyone => {}
        Eligible::Registered => facts.push(("eligible", "imported users".to_owned())),
        Eligible::Listed(users) => facts.push(("eligible", format!("{} users", users.len()))),
    }
    if !rules.blocked.is_empty() {
        facts.push(("blocked", format!("{} users", rules.blocked.len())));
    }
    facts
}
