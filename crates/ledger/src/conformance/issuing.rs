//! Campaigns and waves: created once, read as written, paused, topped up, patched.

use rules::{CampaignId, Per, Rules, Split, Tranche, WinLimit};
use uuid::Uuid;

use super::bench::{Bench, Rain, fen, lead, limit, new_campaign, once};
use crate::{CampaignPatch, Change, Once, TopUpRefused, WaveState};

/// Every field of a campaign and its waves comes back as it was given.
pub async fn a_campaign_is_read_as_it_was_written(bench: Bench) {
    let now = bench.ledger.now();
    let mut new = new_campaign(now, 10, 3, 1_000, limit(2, Per::Seconds(60)));
    new.title = "新年快乐 ' \" %".into();
    new.rules = Rules {
        attempt_window_seconds: Some(5),
        discard_probability: 0.5,
        ..Rules::default()
    };
    let given = new.clone();
    let id = new.id;
    assert_eq!(
        bench.ledger.create_campaign(new, None).await.unwrap(),
        Once::Done(id)
    );
    let read = bench.ledger.campaign(id).await.unwrap().unwrap();
    assert_eq!(
        (read.id, &read.title, &read.currency),
        (id, &given.title, &given.currency)
    );
    assert_eq!(
        (read.starts_at, read.ends_at),
        (given.starts_at, given.ends_at)
    );
    assert_eq!(read.win_limit, given.win_limit);
    assert_eq!(bench.ledger.rules(read.no).await.unwrap(), given.rules);
    assert_eq!((read.seed, read.commitment), (given.seed, given.commitment));
    assert_eq!(
        (&read.tranches[..], &read.waves),
        (&[given.tranche][..], &given.waves)
    );
    assert_eq!(read.interval_seconds, given.interval_seconds);
    assert!((read.paused_at, read.closed_at, read.halted) == (None, None, None));
    assert!(read.created_at >= now);
    let nobody = CampaignId(Uuid::from_u128(u128::MAX));
    assert!(bench.ledger.campaign(nobody).await.unwrap().is_none());
}

/// A repeated creation under one key makes one campaign; another body is told.
pub async fn a_creation_is_done_once(bench: Bench) {
    let now = bench.ledger.now();
    let make = || new_campaign(now, 10, 3, 1_000, WinLimit::ONE);
    let first = make();
    let id = first.id;
    let before = bench.ledger.done_before(&once("k", 1)).await.unwrap();
    assert_eq!(before, None);
    let done = bench
        .ledger
        .create_campaign(first, Some(once("k", 1)))
        .await;
    assert_eq!(done.unwrap(), Once::Done(id));
    let again = bench
        .ledger
        .create_campaign(make(), Some(once("k", 1)))
        .await;
    assert_eq!(again.unwrap(), Once::Repeated(id));
    let other = bench
        .ledger
        .create_campaign(make(), Some(once("k", 2)))
        .await;
    assert_eq!(other.unwrap(), Once::KeyReused);
    let before = bench.ledger.done_before(&once("k", 1)).await.unwrap();
    assert_eq!(before, Some(Once::Repeated(id)));
    let before = bench.ledger.done_before(&once("k", 2)).await.unwrap();
    assert_eq!(before, Some(Once::KeyReused));
    assert_eq!(bench.ledger.campaigns(None, 10).await.unwrap().len(), 1);
}

/// Whoever asks for changes after the last version it knows misses none.
pub async fn versions_tell_every_change(bench: Bench) {
    let mut one = Rain::plan(&bench, 10, 2, WinLimit::ONE).await;
    let two = Rain::plan(&bench, 10, 2, WinLimit::ONE).await;
    let (ledger, id) = (bench.ledger.clone(), one.campaign.id);
    let all = ledger.campaigns_since(0).await.unwrap();
    assert_eq!(all.len(), 2);
    assert!(all[0].version < all[1].version);
    let mut seen = two.campaign.version;
    assert!(ledger.campaigns_since(seen).await.unwrap().is_empty());
    for change in 0..6 {
        match change {
            0 => assert_eq!(ledger.pause_campaign(id).await.unwrap(), Change::Done),
            1 => assert_eq!(ledger.resume_campaign(id).await.unwrap(), Change::Done),
            2 => one.open_wave(1, 2).await,
            3 => {
                let tranche = one.campaign.tranches[0].clone();
                ledger
                    .top_up(id, tranche, once("t", 1))
                    .await
                    .unwrap()
                    .unwrap();
            }
            4 => ledger.halt_campaign(id, "why").await.unwrap(),
            _ => {
                ledger.close_campaign(id).await.unwrap().unwrap();
            }
        }
        let changed = ledger.campaigns_since(seen).await.unwrap();
        assert_eq!(changed.len(), 1, "change {change}");
        assert_eq!(changed[0].id, id);
        seen = changed[0].version;
    }
}

/// Campaigns by descending number, without a gap between pages.
pub async fn campaigns_come_page_by_page(bench: Bench) {
    for _ in 0..5 {
        Rain::plan(&bench, 2, 1, WinLimit::ONE).await;
    }
    let (mut before, mut numbers) = (None, Vec::new());
    loop {
        let page = bench.ledger.campaigns(before, 2).await.unwrap();
        assert!(page.len() <= 2);
        let Some(last) = page.last() else { break };
        before = Some(last.no);
        numbers.extend(page.iter().map(|campaign| campaign.no));
    }
    assert_eq!(numbers.len(), 5);
    assert!(numbers.is_sorted_by(|a, b| a > b));
}

/// A wave is issued and opened once; what was noted first stays.
pub async fn waves_go_from_planned_to_open_once(bench: Bench) {
    let mut rain = Rain::plan(&bench, 10, 3, WinLimit::ONE).await;
    let (ledger, no) = (rain.ledger.clone(), rain.campaign.no);
    let lead = lead(&*ledger).await;
    let early = ledger.open_wave(lead, no, 1).await.unwrap();
    assert!(!early, "not before it is issuing");
    rain.read_again().await;
    assert_eq!(rain.campaign.waves[0].state, WaveState::Planned);
    let mut wave = rain.campaign.waves[0].clone();
    (wave.bundle_size, wave.algorithm, wave.digest) = (2, 1, Some([7; 32]));
    ledger.begin_wave(lead, no, &wave).await.unwrap();
    let mut other = wave.clone();
    (other.bundle_size, other.digest) = (3, Some([8; 32]));
    ledger.begin_wave(lead, no, &other).await.unwrap();
    rain.read_again().await;
    let issuing = &rain.campaign.waves[0];
    assert_eq!(
        (issuing.state, issuing.bundle_size),
        (WaveState::Issuing, 2)
    );
    assert_eq!(issuing.digest, Some([7; 32]));
    assert_eq!(rain.campaign.openings(), 0);
    ledger.pause_campaign(rain.campaign.id).await.unwrap();
    assert!(
        !ledger.open_wave(lead, no, 1).await.unwrap(),
        "not while paused"
    );
    ledger.resume_campaign(rain.campaign.id).await.unwrap();
    assert!(ledger.open_wave(lead, no, 1).await.unwrap());
    rain.read_again().await;
    let opened = rain.campaign.clone();
    assert_eq!((opened.waves[0].opening, opened.openings()), (Some(1), 1));
    assert_eq!(opened.packets_issued(), 4);
    assert!(!ledger.open_wave(lead, no, 1).await.unwrap(), "it is open");
    ledger.begin_wave(lead, no, &other).await.unwrap();
    rain.read_again().await;
    assert_eq!(rain.campaign.version, opened.version);
    assert_eq!(rain.campaign.waves, opened.waves);
    rain.open_wave(3, 2).await;
    assert_eq!(rain.campaign.waves[2].opening, Some(2));
}

/// After a pause, planned waves and the end are later by its length; open waves stay.
pub async fn a_pause_moves_what_is_planned(bench: Bench) {
    let mut rain = Rain::plan(&bench, 10, 3, WinLimit::ONE).await;
    rain.open_wave(1, 2).await;
    let (ledger, id) = (rain.ledger.clone(), rain.campaign.id);
    let before = rain.campaign.clone();
    assert_eq!(ledger.resume_campaign(id).await.unwrap(), Change::Unchanged);
    assert_eq!(ledger.pause_campaign(id).await.unwrap(), Change::Done);
    assert_eq!(ledger.pause_campaign(id).await.unwrap(), Change::Unchanged);
    rain.read_again().await;
    let paused_at = rain.campaign.paused_at.unwrap();
    bench.clock.turn(100);
    let before_resume = ledger.now();
    assert_eq!(ledger.resume_campaign(id).await.unwrap(), Change::Done);
    let after_resume = ledger.now();
    rain.read_again().await;
    let after = &rain.campaign;
    assert_eq!(after.paused_at, None);
    let moved = after.ends_at.since(before.ends_at);
    let lengths = before_resume.since(paused_at)..=after_resume.since(paused_at);
    assert!(lengths.contains(&moved), "{moved} not in {lengths:?}");
    assert_eq!(after.waves[0].due_at, before.waves[0].due_at);
    for (after, before) in after.waves[1..].iter().zip(&before.waves[1..]) {
        assert_eq!(after.due_at.since(before.due_at), moved);
    }
    let nobody = CampaignId(Uuid::from_u128(u128::MAX));
    assert_eq!(
        ledger.pause_campaign(nobody).await.unwrap(),
        Change::NotFound
    );
    assert_eq!(
        ledger.resume_campaign(nobody).await.unwrap(),
        Change::NotFound
    );
}

fn equal(packets: u32) -> Tranche {
    Tranche {
        // The ledger gives the number, whatever stands here.
        number: 99,
        packets,
        split: Split::Equal { amount: fen(5) },
    }
}

/// A top-up is the next tranche and one more wave, due now, whose packets can be won.
pub async fn a_top_up_is_one_more_wave(bench: Bench) {
    let mut rain = Rain::plan(&bench, 10, 2, WinLimit::ONE).await;
    let (ledger, id) = (rain.ledger.clone(), rain.campaign.id);
    let before = ledger.now();
    let done = ledger.top_up(id, equal(6), once("a", 1)).await.unwrap();
    assert_eq!(done, Ok(Once::Done(id)));
    ledger
        .top_up(id, equal(3), once("b", 1))
        .await
        .unwrap()
        .unwrap();
    rain.read_again().await;
    let campaign = &rain.campaign;
    let numbers: Vec<_> = campaign.tranches.iter().map(|t| t.number).collect();
    assert_eq!(numbers, [0, 1, 2]);
    assert_eq!(campaign.packets_total(), 19);
    let wave = &campaign.waves[2];
    assert_eq!(
        (wave.number, wave.tranche, wave.offset, wave.packets),
        (3, 1, 0, 6)
    );
    assert!(wave.due_at >= before && wave.due_at <= ledger.now());
    assert_eq!(campaign.waves[3].tranche, 2);
    rain.open_wave(4, 2).await;
    let results = rain.claim(&[rain.ask("ann", 4, 3)]).await;
    assert_eq!(super::bench::won(&results[0]).amount, fen(5));
    assert_eq!(rain.balanced().await.budget, fen(1_000 + 45));
    let nobody = CampaignId(Uuid::from_u128(u128::MAX));
    let topped = ledger.top_up(nobody, equal(1), once("c", 1)).await.unwrap();
    assert_eq!(topped, Err(TopUpRefused::NotFound));
}

/// Top-ups at the same time, each of which there is room for, leave no campaign over the limit.
pub async fn top_ups_keep_the_limit_together(bench: Bench) {
    let mut rain = Rain::plan(&bench, 10, 2, WinLimit::ONE).await;
    let (ledger, id) = (rain.ledger.clone(), rain.campaign.id);
    let most = rules::limits::PACKETS_MAX - 10;
    let keys = ["a", "b", "c"];
    let all = keys.map(|key| ledger.top_up(id, equal(most), once(key, 1)));
    let [a, b, c] = futures_util::future::join_all(all)
        .await
        .try_into()
        .unwrap_or_else(|_| unreachable!("three were asked"));
    let all = [a.unwrap(), b.unwrap(), c.unwrap()];
    let done = all.iter().filter(|one| one.is_ok()).count();
    assert_eq!(done, 1, "{all:?}");
    let refused = |one: &&Result<_, TopUpRefused>| matches!(one, Err(TopUpRefused::Limit(_)));
    assert_eq!(all.iter().filter(refused).count(), 2, "{all:?}");
    rain.read_again().await;
    assert_eq!(
        rain.campaign.packets_total(),
        u64::from(rules::limits::PACKETS_MAX)
    );
}

/// A repeated top-up adds nothing; its key with another body is told.
pub async fn a_top_up_is_done_once(bench: Bench) {
    let mut rain = Rain::plan(&bench, 10, 2, WinLimit::ONE).await;
    let (ledger, id) = (rain.ledger.clone(), rain.campaign.id);
    ledger
        .top_up(id, equal(6), once("a", 1))
        .await
        .unwrap()
        .unwrap();
    let again = ledger.top_up(id, equal(6), once("a", 1)).await.unwrap();
    assert_eq!(again, Ok(Once::Repeated(id)));
    let other = ledger.top_up(id, equal(7), once("a", 2)).await.unwrap();
    assert_eq!(other, Ok(Once::KeyReused));
    ledger.close_campaign(id).await.unwrap();
    // The answer stays what it was, though the campaign takes no other any more.
    let late = ledger.top_up(id, equal(6), once("a", 1)).await.unwrap();
    assert_eq!(late, Ok(Once::Repeated(id)));
    rain.read_again().await;
    assert_eq!(rain.campaign.packets_total(), 16);
    rain.balanced().await;
}

/// A top-up while paused is due when the pause ends, not a whole pause later.
pub async fn a_top_up_in_a_pause_is_due_at_its_end(bench: Bench) {
    let mut rain = Rain::plan(&bench, 10, 2, WinLimit::ONE).await;
    let (ledger, id) = (rain.ledger.clone(), rain.campaign.id);
    ledger.pause_campaign(id).await.unwrap();
    bench.clock.turn(50);
    ledger
        .top_up(id, equal(6), once("a", 1))
        .await
        .unwrap()
        .unwrap();
    bench.clock.turn(50);
    let before = ledger.now();
    ledger.resume_campaign(id).await.unwrap();
    rain.read_again().await;
    let due_at = rain.campaign.waves[2].due_at;
    assert!(due_at >= before && due_at <= ledger.now());
}

/// A patch changes what it names and nothing else.
pub async fn a_patch_changes_what_it_names(bench: Bench) {
    let mut rain = Rain::plan(&bench, 10, 2, WinLimit::ONE).await;
    let (ledger, id) = (rain.ledger.clone(), rain.campaign.id);
    let before = rain.campaign.clone();
    let rules = Rules {
        discard_probability: 0.25,
        ..Rules::default()
    };
    let patch = CampaignPatch {
        rules: Some(rules.clone()),
        ..CampaignPatch::default()
    };
    assert_eq!(
        ledger.patch_campaign(id, patch.clone()).await.unwrap(),
        Change::Done
    );
    assert_eq!(
        ledger.patch_campaign(id, patch).await.unwrap(),
        Change::Unchanged
    );
    rain.read_again().await;
    assert_eq!(ledger.rules(before.no).await.unwrap(), rules);
    assert_eq!(
        (&rain.campaign.title, rain.campaign.ends_at),
        (&before.title, before.ends_at)
    );
    let patch = CampaignPatch {
        title: Some("Later".into()),
        ends_at: Some(before.ends_at.plus_seconds(60)),
        rules: None,
        version: Some(rain.campaign.version),
    };
    // Decided from what the campaign was before the rules changed.
    let overtaken = CampaignPatch {
        version: Some(before.version),
        ..patch.clone()
    };
    assert_eq!(
        ledger.patch_campaign(id, overtaken).await.unwrap(),
        Change::Overtaken
    );
    assert_eq!(
        ledger.patch_campaign(id, patch).await.unwrap(),
        Change::Done
    );
    rain.read_again().await;
    assert_eq!(rain.campaign.title, "Later");
    assert_eq!(ledger.rules(before.no).await.unwrap(), rules);
    assert_eq!(rain.campaign.ends_at, before.ends_at.plus_seconds(60));
    let nobody = CampaignId(Uuid::from_u128(u128::MAX));
    let nothing = CampaignPatch::default();
    assert_eq!(
        ledger.patch_campaign(nobody, nothing).await.unwrap(),
        Change::NotFound
    );
}
