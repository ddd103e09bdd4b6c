//! Organisers, monitors and replicas that change campaigns at the same time.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rules::{CampaignId, Per, Split, Tranche, WinLimit};

use super::bench::{Bench, Rain, claim_among_others, fen, limit, new_campaign, once, user};
use crate::{CampaignPatch, Change, ClaimResult, Imported, Ledger, NewUser, Once, Organiser};

/// One key from many callers at once makes one campaign, and each of them hears of it.
pub async fn one_creation_of_many_callers(bench: Bench) {
    for round in 0..4 {
        let key = format!("key {round}");
        let callers: Vec<_> = (0..12)
            .map(|_| {
                let ledger = bench.ledger.clone();
                let new = new_campaign(ledger.now(), 10, 3, 1_000, WinLimit::ONE);
                let once = once(&key, 1);
                tokio::spawn(async move { ledger.create_campaign(new, Some(once)).await.unwrap() })
            })
            .collect();
        let (mut done, mut told) = (Vec::new(), HashSet::new());
        for caller in callers {
            match caller.await.unwrap() {
                Once::Done(id) => done.push(id),
                Once::Repeated(id) => {
                    told.insert(id);
                }
                Once::KeyReused => panic!("all bodies were the same"),
            }
        }
        assert_eq!(done.len(), 1, "{done:?}");
        assert_eq!(told, HashSet::from([done[0]]));
    }
    assert_eq!(bench.ledger.campaigns(None, 99).await.unwrap().len(), 4);
}

/// Top-ups that come at once are numbered without a gap, each once, whatever is repeated.
pub async fn top_ups_at_once_are_numbered(bench: Bench) {
    let mut rain = Rain::plan(&bench, 10, 2, WinLimit::ONE).await;
    let id = rain.campaign.id;
    let callers: Vec<_> = (0..12_u32)
        .map(|n| {
            let ledger = bench.ledger.clone();
            let tranche = Tranche {
                number: 0,
                packets: 3,
                split: Split::Equal { amount: fen(5) },
            };
            // Each key comes from two callers.
            let once = once(&format!("key {}", n / 2), 1);
            tokio::spawn(async move { ledger.top_up(id, tranche, once).await.unwrap().unwrap() })
        })
        .collect();
    let mut done = 0;
    for caller in callers {
        match caller.await.unwrap() {
            Once::Done(_) => done += 1,
            Once::Repeated(_) => {}
            Once::KeyReused => panic!("all bodies were the same"),
        }
    }
    assert_eq!(done, 6);
    rain.read_again().await;
    let numbers: Vec<_> = rain.campaign.tranches.iter().map(|t| t.number).collect();
    assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6]);
    let waves: Vec<_> = rain.campaign.waves.iter().map(|w| w.number).collect();
    assert_eq!(waves, [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(rain.campaign.packets_total(), 10 + 6 * 3);
    assert_eq!(rain.balanced().await.budget, fen(1_000 + 6 * 15));
}

/// Whoever closes at the same time gets the one refund.
pub async fn one_refund_for_many_closers(bench: Bench) {
    let rain = Rain::open(&bench, 20, WinLimit::ONE).await;
    let win = rain.win("ann", 3).await;
    let id = rain.campaign.id;
    let closers: Vec<_> = (0..8)
        .map(|_| {
            let ledger = bench.ledger.clone();
            tokio::spawn(async move { ledger.close_campaign(id).await.unwrap().unwrap() })
        })
        .collect();
    let mut refunds = Vec::new();
    for closer in closers {
        refunds.push(closer.await.unwrap());
    }
    assert!(refunds.iter().all(|refund| *refund == refunds[0]));
    assert_eq!(refunds[0].packets, 19);
    assert_eq!(refunds[0].amount.units(), 2_000 - win.amount.units());
    rain.balanced().await;
}

/// Imports that come at once and fight for the same users and codes are each whole or nothing.
pub async fn imports_at_once_are_whole(bench: Bench) {
    const USERS: u8 = 20;
    let imports: Vec<_> = (0..8_u8)
        .map(|n| {
            let ledger = bench.ledger.clone();
            // Each gives every user another's code of the import before it, or codes of its own.
            let lines = (0..USERS).map(|i| {
                let place = if n % 2 == 0 { i } else { USERS - 1 - i };
                NewUser {
                    id: user(&format!("user {i:02}")),
                    code_hash: [place + (n % 4) / 2 * 100; 32],
                    name: Some(format!("import {n}")),
                }
            });
            let lines: Vec<_> = lines.collect();
            tokio::spawn(async move { ledger.import_users(&lines).await.unwrap() })
        })
        .collect();
    let mut added = 0;
    for import in imports {
        match import.await.unwrap() {
            Imported::Done { added: new, .. } => added += new,
            Imported::CodeTaken(user) => panic!("the code of {user:?} was nobody else's"),
        }
    }
    assert_eq!(added, u64::from(USERS));
    let users = bench.ledger.users(None, 99).await.unwrap();
    assert_eq!(users.len(), usize::from(USERS));
    assert!(
        users.iter().all(|user| user.name == users[0].name),
        "{users:?}"
    );
}

/// Of many who want to be the first organiser, one is.
pub async fn one_first_organiser_of_many(bench: Bench) {
    let callers: Vec<_> = (0..8)
        .map(|n| {
            let ledger = bench.ledger.clone();
            let organiser = Organiser {
                username: format!("organiser {n}"),
                password_hash: "$argon2id$…".into(),
            };
            tokio::spawn(async move { ledger.add_first_organiser(&organiser).await.unwrap() })
        })
        .collect();
    let mut first = 0;
    for caller in callers {
        first += u32::from(caller.await.unwrap());
    }
    assert_eq!(first, 1);
}

/// A version is never seen before all lower ones, so who asks for later ones misses no change,
/// however many change campaigns at once.
pub async fn no_change_is_missed_while_many_change(bench: Bench) {
    const CAMPAIGNS: usize = 6;
    let mut ids = Vec::new();
    for _ in 0..CAMPAIGNS {
        ids.push(Rain::plan(&bench, 4, 2, WinLimit::ONE).await.campaign.id);
    }
    let done = Arc::new(AtomicBool::new(false));
    let follower = tokio::spawn(follow(bench.ledger.clone(), done.clone()));
    let changers: Vec<_> = ids
        .into_iter()
        .map(|id| tokio::spawn(change(bench.ledger.clone(), id)))
        .collect();
    for changer in changers {
        changer.await.unwrap();
    }
    done.store(true, Ordering::SeqCst);
    let followed = follower.await.unwrap();
    let campaigns = bench.ledger.campaigns(None, 99).await.unwrap();
    let right = campaigns
        .iter()
        .map(|c| (c.id.0, (c.version, c.title.clone())));
    assert_eq!(followed, right.collect());
}

/// Changes a campaign many times, each time so that its version grows.
async fn change(ledger: Arc<dyn Ledger>, id: CampaignId) {
    for n in 0..15 {
        let title = CampaignPatch {
            title: Some(format!("rain {n}")),
            ..CampaignPatch::default()
        };
        let changed = match n % 3 {
            0 => ledger.pause_campaign(id).await,
            1 => ledger.resume_campaign(id).await,
            _ => ledger.patch_campaign(id, title).await,
        };
        assert_eq!(changed.unwrap(), Change::Done);
    }
}

/// What a replica knows of each campaign that only ever asks for later versions.
async fn follow(
    ledger: Arc<dyn Ledger>,
    done: Arc<AtomicBool>,
) -> BTreeMap<uuid::Uuid, (i64, String)> {
    let mut seen = 0;
    let mut known: BTreeMap<uuid::Uuid, (i64, String)> = BTreeMap::new();
    loop {
        let last = done.load(Ordering::SeqCst);
        for campaign in ledger.campaigns_since(seen).await.unwrap() {
            assert!(campaign.version > seen, "ascending");
            seen = campaign.version;
            known.insert(campaign.id.0, (campaign.version, campaign.title));
        }
        for campaign in ledger.campaigns(None, 99).await.unwrap() {
            let heard = known.get(&campaign.id.0).map(|(version, _)| *version);
            assert!(
                campaign.version > seen || heard >= Some(campaign.version),
                "version {} came to light after {seen}",
                campaign.version
            );
        }
        if last {
            return known;
        }
    }
}

/// One tap that reaches several nodes at the same time wins once, whatever they have for it.
pub async fn one_win_of_a_tap_on_many_nodes(bench: Bench) {
    let rain = Arc::new(Rain::open(&bench, 200, limit(3, Per::Campaign)).await);
    for round in 0..20_u32 {
        let tap = rain.ask(&format!("user {round}"), 1, 1);
        let nodes: Vec<_> = (0..6_u8)
            .map(|node| {
                let (rain, tap) = (rain.clone(), tap.clone());
                let index = round * 6 + u32::from(node) + 1;
                tokio::spawn(async move {
                    let mut ask = rain.ask(tap.user.as_str(), 1, index);
                    ask.grab_id = tap.grab_id;
                    let claimed = claim_among_others(&*rain.ledger, node, &[ask]).await;
                    claimed.into_iter().next().expect("an answer to the ask")
                })
            })
            .collect();
        let (mut wins, mut repeated) = (Vec::new(), Vec::new());
        for node in nodes {
            match node.await.unwrap() {
                ClaimResult::Won(win) => wins.push(win),
                ClaimResult::SameGrab(win) => repeated.push(win),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((wins.len(), repeated.len()), (1, 5), "round {round}");
        assert!(repeated.iter().all(|win| *win == wins[0]), "round {round}");
    }
    assert_eq!(rain.balanced().await.packets.claimed, 20);
}
