//! Participants that the organiser imported, organisers, and their sessions.
//!
//! Codes and tokens never come here, only their hashes.

use std::collections::BTreeMap;

use rules::{Timestamp, UserId};
use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};

use super::{fault::Fail, open::Inner};
use crate::{
    Imported, NewUser, Organiser, User, codec,
    import::{self, Before, Import},
};

/// Users per statement of an import.
const CHUNK: usize = 500;

/// See [`crate::Ledger::import_users`].
pub(super) async fn import(inner: &Inner, users: &[NewUser]) -> Result<Imported, Fail> {
    let lines = import::lines(users);
    let now = inner.now();
    let mut write = inner.writer.begin().await?;
    let conn = write.conn();
    let mut import = Import::default();
    for chunk in lines.chunks(CHUNK) {
        let known = known(conn, chunk).await?;
        let replaced = import.take_in(chunk, &known, now);
        remove(conn, &replaced).await?;
    }
    for chunk in import.rows.chunks(CHUNK) {
        if let Some(user) = insert(conn, chunk).await? {
            write.rollback().await?;
            return Ok(Imported::CodeTaken(user));
        }
    }
    if import.rows.is_empty() {
        write.rollback().await?;
    } else {
        write.commit(2 + import.rows.len() as u64).await?;
    }
    Ok(Imported::Done {
        added: import.added,
        changed: import.changed,
    })
}

async fn known(
    conn: &mut SqliteConnection,
    users: &[&NewUser],
) -> Result<BTreeMap<String, Before>, Fail> {
    let ids: Vec<_> = users.iter().map(|user| user.id.as_str()).collect();
    let rows = sqlx::query(
        "SELECT id, code_hash, name, created_at FROM users \
         WHERE id IN (SELECT value FROM json_each(?))",
    )
    .bind(codec::json(&ids)?)
    .fetch_all(conn)
    .await?;
    let before = |row: &SqliteRow| {
        Ok((
            row.try_get(0)?,
            Before {
                code_hash: row.try_get(1)?,
                name: row.try_get(2)?,
                created_at: Timestamp::from_micros(row.try_get(3)?),
            },
        ))
    };
    rows.iter().map(before).collect()
}

async fn remove(conn: &mut SqliteConnection, users: &[&NewUser]) -> Result<(), Fail> {
    let ids: Vec<_> = users.iter().map(|user| user.id.as_str()).collect();
    if ids.is_empty() {
        return Ok(());
    }
    sqlx::query("DELETE FROM users WHERE id IN (SELECT value FROM json_each(?))")
        .bind(codec::json(&ids)?)
        .execute(conn)
        .await?;
    Ok(())
}

/// Inserts users. The first one whose code is another's, if there is one.
async fn insert(
    conn: &mut SqliteConnection,
    users: &[(&NewUser, Timestamp)],
) -> Result<Option<UserId>, Fail> {
    let rows: Vec<_> = users
        .iter()
        .map(|(user, created_at)| {
            let hash: String = user.code_hash.iter().map(|b| format!("{b:02x}")).collect();
            (user.id.as_str(), hash, &user.name, created_at.micros())
        })
        .collect();
    let inserted = sqlx::query(
        "INSERT INTO users (id, code_hash, name, created_at) \
         SELECT value ->> 0, unhex(value ->> 1), value ->> 2, value ->> 3 \
         FROM json_each(?) WHERE true ON CONFLICT DO NOTHING",
    )
    .bind(codec::json(&rows)?)
    .execute(&mut *conn)
    .await?;
    if inserted.rows_affected() == users.len() as u64 {
        return Ok(None);
    }
    for (user, _) in users {
        let own = by_hash(&mut *conn, &user.code_hash).await?;
        if own.is_none_or(|holder| holder.id != user.id) {
            return Ok(Some(user.id.clone()));
        }
    }
    Err(codec::corrupt("users were not inserted, and no code is in the way".into()).into())
}

fn user(row: &SqliteRow) -> Result<User, Fail> {
    Ok(User {
        id: UserId::trusted(row.try_get(0)?),
        name: row.try_get(1)?,
        created_at: Timestamp::from_micros(row.try_get(2)?),
    })
}

/// See [`crate::Ledger::users`].
pub(super) async fn users(
    inner: &Inner,
    after: Option<&UserId>,
    limit: u32,
) -> Result<Vec<User>, Fail> {
    let rows =
        sqlx::query("SELECT id, name, created_at FROM users WHERE id > ? ORDER BY id LIMIT ?")
            .bind(after.map_or("", UserId::as_str))
            .bind(i64::from(limit))
            .fetch_all(&mut *inner.reader().await?)
            .await?;
    rows.iter().map(user).collect()
}

/// See [`crate::Ledger::users_count`].
pub(super) async fn count(inner: &Inner) -> Result<u64, Fail> {
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM users")
        .fetch_one(&mut *inner.scanner().await?)
        .await?;
    Ok(codec::count(count)?)
}

/// See [`crate::Ledger::delete_user`].
pub(super) async fn delete(inner: &Inner, user: &UserId) -> Result<bool, Fail> {
    let mut write = inner.writer.begin().await?;
    let deleted = sqlx::query("DELETE FROM users WHERE id = ?")
        .bind(user.as_str())
        .execute(write.conn())
        .await?;
    write.commit(2).await?;
    Ok(deleted.rows_affected() > 0)
}

/// See [`crate::Ledger::user_by_code`].
pub(super) async fn by_code(inner: &Inner, code_hash: &[u8; 32]) -> Result<Option<User>, Fail> {
    by_hash(&mut *inner.reader().await?, code_hash).await
}

async fn by_hash(conn: &mut SqliteConnection, code_hash: &[u8; 32]) -> Result<Option<User>, Fail> {
    let row = sqlx::query("SELECT id, name, created_at FROM users WHERE code_hash = ?")
        .bind(&code_hash[..])
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(user).transpose()
}

/// See [`crate::Ledger::all_user_ids`].
pub(super) async fn all_ids(inner: &Inner) -> Result<Vec<UserId>, Fail> {
    let ids: Vec<String> = sqlx::query_scalar("SELECT id FROM users ORDER BY id")
        .fetch_all(&mut *inner.reader().await?)
        .await?;
    Ok(ids.iter().map(|id| UserId::trusted(id)).collect())
}

/// See [`crate::Ledger::add_first_organiser`].
pub(super) async fn add_first_organiser(
    inner: &Inner,
    organiser: &Organiser,
) -> Result<bool, Fail> {
    let mut write = inner.writer.begin().await?;
    let added = sqlx::query(
        "INSERT INTO organisers (username, password_hash, created_at) \
         SELECT ?, ?, ? WHERE NOT EXISTS (SELECT 1 FROM organisers)",
    )
    .bind(&organiser.username)
    .bind(&organiser.password_hash)
    .bind(inner.now().micros())
    .execute(write.conn())
    .await?;
    write.commit(1).await?;
    Ok(added.rows_affected() > 0)
}

/// See [`crate::Ledger::organiser`].
pub(super) async fn organiser(inner: &Inner, username: &str) -> Result<Option<Organiser>, Fail> {
    let row = sqlx::query("SELECT username, password_hash FROM organisers WHERE username = ?")
        .bind(username)
        .fetch_optional(&mut *inner.reader().await?)
        .await?;
    let organiser = |row: SqliteRow| {
        Ok(Organiser {
            username: row.try_get(0)?,
            password_hash: row.try_get(1)?,
        })
    };
    row.map(organiser).transpose()
}

/// See [`crate::Ledger::has_organiser`].
pub(super) async fn has_organiser(inner: &Inner) -> Result<bool, Fail> {
    let any = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM organisers)")
        .fetch_one(&mut *inner.reader().await?)
        .await?;
    Ok(any)
}

/// See [`crate::Ledger::add_session`]. Sessions that have expired are removed by the way.
pub(super) async fn add_session(
    inner: &Inner,
    token_hash: &[u8; 32],
    username: &str,
    expires_at: Timestamp,
) -> Result<(), Fail> {
    let mut write = inner.writer.begin().await?;
    sqlx::query("DELETE FROM sessions WHERE expires_at <= ?")
        .bind(inner.now().micros())
        .execute(write.conn())
        .await?;
    sqlx::query(
        "INSERT INTO sessions (token_hash, username, expires_at) VALUES (?, ?, ?) \
         ON CONFLICT DO UPDATE SET username = excluded.username, expires_at = excluded.expires_at",
    )
    .bind(&token_hash[..])
    .bind(username)
    .bind(expires_at.micros())
    .execute(write.conn())
    .await?;
    write.commit(3).await?;
    Ok(())
}

/// See [`crate::Ledger::session`].
pub(super) async fn session(inner: &Inner, token_hash: &[u8; 32]) -> Result<Option<String>, Fail> {
    let sql = "SELECT username FROM sessions WHERE token_hash = ? AND expires_at > ?";
    let username = sqlx::query_scalar(sql)
        .bind(&token_hash[..])
        .bind(inner.now().micros())
        .fetch_optional(&mut *inner.reader().await?)
        .await?;
    Ok(username)
}

/// See [`crate::Ledger::delete_session`].
pub(super) async fn delete_session(inner: &Inner, token_hash: &[u8; 32]) -> Result<(), Fail> {
    let mut write = inner.writer.begin().await?;
    sqlx::query("DELETE FROM sessions WHERE token_hash = ?")
        .bind(&token_hash[..])
        .execute(write.conn())
        .await?;
    write.commit(1).await?;
    Ok(())
}
