//! Participants that the organiser imported, organisers, and their sessions.
//!
//! Codes and tokens never come here, only their hashes. Ids, usernames and hashes are bytes: only
//! equal bytes are equal.

use std::collections::{BTreeMap, HashMap};

use rules::{Timestamp, UserId};

use super::{
    fault::Fail,
    open::Inner,
    sql::{Conn, Tx},
    value::{Row, Value, values},
};
use crate::{
    Imported, NewUser, Organiser, User, codec,
    import::{self, Before, Import},
};

/// Users per statement of an import.
const CHUNK: usize = 500;
/// Users per statement that takes them out.
const REMOVED: usize = 64;
/// Ids of one page of all.
const PAGE: u32 = 10_000;

/// A transaction before whose end no other adds users or organisers.
async fn alone(inner: &Inner) -> Result<Tx, Fail> {
    let mut tx = inner.begin_long().await?;
    let sql = "SELECT value FROM meta WHERE name = 'people' FOR UPDATE";
    tx.fetch_one(sql, &[]).await?;
    Ok(tx)
}

/// See [`crate::Ledger::import_users`].
pub(super) async fn import(inner: &Inner, users: &[NewUser]) -> Result<Imported, Fail> {
    let lines = import::lines(users);
    let mut tx = alone(inner).await?;
    let now = inner.now();
    let mut import = Import::default();
    for chunk in lines.chunks(CHUNK) {
        let known = known(&mut tx, chunk).await?;
        let replaced = import.take_in(chunk, &known, now);
        remove(&mut tx, &replaced).await?;
    }
    if let Some(user) = import.code_twice() {
        tx.rollback().await?;
        return Ok(Imported::CodeTaken(user.clone()));
    }
    for chunk in import.rows.chunks(CHUNK) {
        if let Some(user) = code_taken(&mut tx, chunk).await? {
            tx.rollback().await?;
            return Ok(Imported::CodeTaken(user));
        }
        insert(&mut tx, chunk).await?;
    }
    if import.rows.is_empty() {
        tx.rollback().await?;
    } else {
        tx.commit().await?;
    }
    Ok(Imported::Done {
        added: import.added,
        changed: import.changed,
    })
}

async fn known(conn: &mut Conn, users: &[&NewUser]) -> Result<BTreeMap<String, Before>, Fail> {
    let ids: Vec<_> = users.iter().map(|user| Value::from(&user.id)).collect();
    let sql = "SELECT id, code_hash, name, created_at FROM users WHERE id {IN}";
    let mut known = BTreeMap::new();
    for row in conn.fetch_in(sql, &[], &ids).await? {
        let before = Before {
            code_hash: row.bytes(1)?.to_vec(),
            name: row.maybe_text(2)?.map(str::to_owned),
            created_at: Timestamp::from_micros(row.int(3)?),
        };
        known.insert(row.user(0)?.as_str().to_owned(), before);
    }
    Ok(known)
}

async fn remove(conn: &mut Conn, users: &[&NewUser]) -> Result<(), Fail> {
    for chunk in users.chunks(REMOVED) {
        let places = vec!["?"; chunk.len()].join(", ");
        let ids: Vec<_> = chunk.iter().map(|user| Value::from(&user.id)).collect();
        let sql = format!("DELETE FROM users WHERE id IN ({places})");
        conn.execute(&sql, &ids).await?;
    }
    Ok(())
}

/// The first of `users`, none of whom is there, whose code is another's.
async fn code_taken(
    conn: &mut Conn,
    users: &[(&NewUser, Timestamp)],
) -> Result<Option<UserId>, Fail> {
    let wanted = users
        .iter()
        .map(|(user, _)| (&user.code_hash[..], &user.id));
    let wanted: HashMap<_, _> = wanted.collect();
    let hashes: Vec<_> = users
        .iter()
        .map(|(user, _)| Value::from(&user.code_hash))
        .collect();
    let sql = "SELECT code_hash FROM users WHERE code_hash {IN}";
    let rows = conn.fetch_in(sql, &[], &hashes).await?;
    let mut refused = Vec::with_capacity(rows.len());
    for row in &rows {
        refused.extend(wanted.get(row.bytes(0)?).copied());
    }
    Ok(refused.into_iter().min().cloned())
}

async fn insert(conn: &mut Conn, users: &[(&NewUser, Timestamp)]) -> Result<(), Fail> {
    let rows: Vec<_> = users
        .iter()
        .map(|(user, created_at)| {
            let name = user.name.as_deref();
            values![&user.id, &user.code_hash, name, created_at.micros()].to_vec()
        })
        .collect();
    let head = "INSERT INTO users (id, code_hash, name, created_at)";
    conn.insert_rows(head, &rows, "").await?;
    Ok(())
}

fn user(row: &Row) -> Result<User, Fail> {
    Ok(User {
        id: row.user(0)?,
        name: row.maybe_text(1)?.map(str::to_owned),
        created_at: Timestamp::from_micros(row.int(2)?),
    })
}

/// See [`crate::Ledger::users`].
pub(super) async fn users(
    inner: &Inner,
    after: Option<&UserId>,
    limit: u32,
) -> Result<Vec<User>, Fail> {
    let after = after.map_or("", UserId::as_str).as_bytes();
    let sql = "SELECT id, name, created_at FROM users WHERE id > ? ORDER BY id LIMIT ?";
    let mut reader = inner.reader().await?;
    let rows = reader.fetch_all(sql, &values![after, limit]).await?;
    rows.iter().map(user).collect()
}

/// See [`crate::Ledger::users_count`].
pub(super) async fn count(inner: &Inner) -> Result<u64, Fail> {
    let sql = "SELECT count(*) FROM users";
    let mut reader = inner.scanner().await?;
    let count = reader.fetch_one(sql, &[]).await?.int(0)?;
    Ok(codec::count(count)?)
}

/// See [`crate::Ledger::delete_user`].
pub(super) async fn delete(inner: &Inner, user: &UserId) -> Result<bool, Fail> {
    let mut tx = inner.begin().await?;
    let sql = "DELETE FROM users WHERE id = ?";
    let deleted = tx.execute(sql, &values![user]).await?;
    tx.commit().await?;
    Ok(deleted > 0)
}

/// See [`crate::Ledger::user_by_code`].
pub(super) async fn by_code(inner: &Inner, code_hash: &[u8; 32]) -> Result<Option<User>, Fail> {
    let sql = "SELECT id, name, created_at FROM users WHERE code_hash = ?";
    let mut reader = inner.reader().await?;
    let row = reader.fetch_optional(sql, &values![code_hash]).await?;
    row.as_ref().map(user).transpose()
}

/// See [`crate::Ledger::all_user_ids`].
pub(super) async fn all_ids(inner: &Inner) -> Result<Vec<UserId>, Fail> {
    let sql = "SELECT id FROM users WHERE id > ? ORDER BY id LIMIT ?";
    let mut reader = inner.reader().await?;
    let mut ids: Vec<UserId> = Vec::new();
    loop {
        let after = ids.last().map_or("", UserId::as_str).as_bytes();
        let page = reader.fetch_all(sql, &values![after, PAGE]).await?;
        for row in &page {
            ids.push(row.user(0)?);
        }
        if page.len() < PAGE as usize {
            return Ok(ids);
        }
    }
}

/// See [`crate::Ledger::add_first_organiser`].
pub(super) async fn add_first_organiser(
    inner: &Inner,
    organiser: &Organiser,
) -> Result<bool, Fail> {
    let mut tx = alone(inner).await?;
    if any_organiser(&mut tx).await? {
        tx.rollback().await?;
        return Ok(false);
    }
    tx.execute(
        "INSERT INTO organisers (username, password_hash, created_at) VALUES (?, ?, ?)",
        &values![
            organiser.username.as_bytes(),
            &organiser.password_hash,
            inner.now().micros()
        ],
    )
    .await?;
    tx.commit().await?;
    Ok(true)
}

async fn any_organiser(conn: &mut Conn) -> Result<bool, Fail> {
    let sql = "SELECT created_at FROM organisers LIMIT 1";
    Ok(conn.fetch_optional(sql, &[]).await?.is_some())
}

/// See [`crate::Ledger::organiser`].
pub(super) async fn organiser(inner: &Inner, username: &str) -> Result<Option<Organiser>, Fail> {
    let sql = "SELECT username, password_hash FROM organisers WHERE username = ?";
    let mut reader = inner.reader().await?;
    let row = reader
        .fetch_optional(sql, &values![username.as_bytes()])
        .await?;
    let organiser = |row: Row| {
        Ok(Organiser {
            username: name(&row, 0)?,
            password_hash: row.text(1)?.to_owned(),
        })
    };
    row.map(organiser).transpose()
}

/// An organiser's name, which is kept as bytes.
fn name(row: &Row, column: usize) -> Result<String, Fail> {
    let name = String::from_utf8(row.bytes(column)?.to_vec());
    Ok(name.map_err(|error| codec::corrupt(format!("an organiser's name: {error}")))?)
}

/// See [`crate::Ledger::has_organiser`].
pub(super) async fn has_organiser(inner: &Inner) -> Result<bool, Fail> {
    any_organiser(&mut inner.reader().await?).await
}

/// See [`crate::Ledger::add_session`]. Sessions that have expired are removed by the way.
pub(super) async fn add_session(
    inner: &Inner,
    token_hash: &[u8; 32],
    username: &str,
    expires_at: Timestamp,
) -> Result<(), Fail> {
    let mut tx = inner.begin().await?;
    let sql = "DELETE FROM sessions WHERE expires_at <= ?";
    tx.execute(sql, &values![inner.now().micros()]).await?;
    let row = values![token_hash, username.as_bytes(), expires_at.micros()].to_vec();
    let tail = tx
        .dialect()
        .upsert("token_hash", &["username", "expires_at"]);
    let head = "INSERT INTO sessions (token_hash, username, expires_at)";
    tx.insert_rows(head, &[row], &tail).await?;
    tx.commit().await?;
    Ok(())
}

/// See [`crate::Ledger::session`].
pub(super) async fn session(inner: &Inner, token_hash: &[u8; 32]) -> Result<Option<String>, Fail> {
    let sql = "SELECT username FROM sessions WHERE token_hash = ? AND expires_at > ?";
    let values = values![token_hash, inner.now().micros()];
    let row = inner.reader().await?.fetch_optional(sql, &values).await?;
    row.map(|row| name(&row, 0)).transpose()
}

/// See [`crate::Ledger::delete_session`].
pub(super) async fn delete_session(inner: &Inner, token_hash: &[u8; 32]) -> Result<(), Fail> {
    let mut tx = inner.begin().await?;
    let sql = "DELETE FROM sessions WHERE token_hash = ?";
    tx.execute(sql, &values![token_hash]).await?;
    tx.commit().await?;
    Ok(())
}
