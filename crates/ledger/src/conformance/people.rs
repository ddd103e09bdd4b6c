//! Imported users, organisers and their sessions.

use super::bench::{Bench, user};
use crate::{Imported, NewUser, Organiser};

fn line(id: &str, code: u8, name: Option<&str>) -> NewUser {
    NewUser {
        id: user(id),
        code_hash: [code; 32],
        name: name.map(Into::into),
    }
}

/// An import adds new users and changes known ones; a repeated one does nothing.
pub async fn an_import_adds_and_changes(bench: Bench) {
    let ledger = bench.ledger;
    let first = [
        line("ann", 1, Some("Ann")),
        line("bob", 2, None),
        line("eve", 3, None),
    ];
    let done = |added, changed| Imported::Done { added, changed };
    assert_eq!(ledger.import_users(&first).await.unwrap(), done(3, 0));
    assert_eq!(ledger.import_users(&first).await.unwrap(), done(0, 0));
    let created_at = ledger.users(None, 1).await.unwrap()[0].created_at;
    bench.clock.turn(100);
    let second = [
        line("ann", 9, Some("Ann")),
        line("bob", 2, Some("Bob")),
        line("joe", 4, None),
    ];
    assert_eq!(ledger.import_users(&second).await.unwrap(), done(1, 2));
    assert_eq!(ledger.user_by_code(&[1; 32]).await.unwrap(), None);
    let ann = ledger.user_by_code(&[9; 32]).await.unwrap().unwrap();
    assert_eq!((ann.id.as_str(), ann.created_at), ("ann", created_at));
    let bob = ledger.user_by_code(&[2; 32]).await.unwrap().unwrap();
    assert_eq!(bob.name.as_deref(), Some("Bob"));
    assert_eq!(ledger.users_count().await.unwrap(), 4);
    assert!(ledger.delete_user(&user("bob")).await.unwrap());
    assert!(!ledger.delete_user(&user("bob")).await.unwrap());
    assert_eq!(ledger.user_by_code(&[2; 32]).await.unwrap(), None);
}

/// A code that is another's refuses the whole import and names who wanted it.
pub async fn an_import_is_all_or_nothing(bench: Bench) {
    let ledger = bench.ledger;
    ledger.import_users(&[line("ann", 1, None)]).await.unwrap();
    let taken = [
        line("bob", 2, None),
        line("eve", 1, None),
        line("ann", 1, Some("A")),
    ];
    let refused = Imported::CodeTaken(user("eve"));
    assert_eq!(ledger.import_users(&taken).await.unwrap(), refused);
    let twice = [line("bob", 2, None), line("eve", 2, None)];
    let refused = ledger.import_users(&twice).await.unwrap();
    assert!(matches!(refused, Imported::CodeTaken(_)), "{refused:?}");
    assert_eq!(ledger.users_count().await.unwrap(), 1);
    assert_eq!(ledger.users(None, 9).await.unwrap()[0].name, None);
}

/// Within one import, users may exchange their codes.
pub async fn codes_may_be_exchanged(bench: Bench) {
    let ledger = bench.ledger;
    let before = [line("ann", 1, None), line("bob", 2, None)];
    ledger.import_users(&before).await.unwrap();
    let after = [line("ann", 2, None), line("bob", 1, None)];
    let done = Imported::Done {
        added: 0,
        changed: 2,
    };
    assert_eq!(ledger.import_users(&after).await.unwrap(), done);
    let holder = ledger.user_by_code(&[1; 32]).await.unwrap().unwrap();
    assert_eq!(holder.id, user("bob"));
}

/// Users by id, without a gap between pages, also when there are many.
pub async fn users_come_page_by_page(bench: Bench) {
    let ledger = bench.ledger;
    let lines: Vec<_> = (0..1_203_u32)
        .map(|n| {
            let mut new = line(&format!("user {n:05}"), 0, None);
            new.code_hash[..4].copy_from_slice(&n.to_le_bytes());
            new
        })
        .collect();
    ledger.import_users(&lines).await.unwrap();
    let (mut after, mut all) = (None, Vec::new());
    loop {
        let page = ledger.users(after.as_ref(), 500).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.id.clone());
        all.extend(page.into_iter().map(|user| user.id));
    }
    assert_eq!(all.len(), lines.len());
    assert!(all.is_sorted_by(|a, b| a < b));
    assert_eq!(ledger.all_user_ids().await.unwrap(), all);
}

/// Only the first organiser can be added without another's leave.
pub async fn the_first_organiser_is_the_only_one(bench: Bench) {
    let ledger = bench.ledger;
    assert!(!ledger.has_organiser().await.unwrap());
    let organiser = |name: &str| Organiser {
        username: name.into(),
        password_hash: "$argon2id$…".into(),
    };
    let first = organiser("ann");
    assert!(ledger.add_first_organiser(&first).await.unwrap());
    assert!(!ledger.add_first_organiser(&organiser("bob")).await.unwrap());
    assert!(ledger.has_organiser().await.unwrap());
    assert_eq!(ledger.organiser("ann").await.unwrap(), Some(first));
    assert_eq!(ledger.organiser("bob").await.unwrap(), None);
}

/// A session is there until it expires or is ended.
pub async fn sessions_expire(bench: Bench) {
    let ledger = bench.ledger;
    let soon = ledger.now().plus_seconds(60);
    let later = ledger.now().plus_seconds(600);
    ledger.add_session(&[1; 32], "ann", soon).await.unwrap();
    ledger.add_session(&[2; 32], "bob", later).await.unwrap();
    assert_eq!(
        ledger.session(&[1; 32]).await.unwrap().as_deref(),
        Some("ann")
    );
    bench.clock.turn(300);
    assert_eq!(ledger.session(&[1; 32]).await.unwrap(), None);
    assert_eq!(
        ledger.session(&[2; 32]).await.unwrap().as_deref(),
        Some("bob")
    );
    ledger.delete_session(&[2; 32]).await.unwrap();
    assert_eq!(ledger.session(&[2; 32]).await.unwrap(), None);
    assert_eq!(ledger.session(&[3; 32]).await.unwrap(), None);
}
