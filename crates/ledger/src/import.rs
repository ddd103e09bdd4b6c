//! What an import of users changes, decided purely from what was there before.

use std::collections::{BTreeMap, HashSet};

use rules::{Timestamp, UserId};

use crate::NewUser;

/// A user as it was before an import.
pub(crate) struct Before {
    /// Its code's hash.
    pub(crate) code_hash: Vec<u8>,
    /// Its name.
    pub(crate) name: Option<String>,
    /// When it was imported first, which stays.
    pub(crate) created_at: Timestamp,
}

impl Before {
    fn differs(&self, user: &NewUser) -> bool {
        self.code_hash != user.code_hash || self.name != user.name
    }
}

/// The lines that count, by ascending id: where an id stands in several, the last.
pub(crate) fn lines(users: &[NewUser]) -> Vec<&NewUser> {
    let by_id: BTreeMap<&str, &NewUser> =
        users.iter().map(|user| (user.id.as_str(), user)).collect();
    by_id.into_values().collect()
}

/// What an import does.
#[derive(Default)]
pub(crate) struct Import<'a> {
    /// How many users are new.
    pub(crate) added: u64,
    /// How many are changed.
    pub(crate) changed: u64,
    /// Rows to write, and since when each user is there.
    pub(crate) rows: Vec<(&'a NewUser, Timestamp)>,
}

impl<'a> Import<'a> {
    /// Takes in `lines`, of which `known` were there. Gives those whose row is to be replaced:
    /// it must be taken out before any is written, so that users may exchange their codes.
    pub(crate) fn take_in(
        &mut self,
        lines: &[&'a NewUser],
        known: &BTreeMap<String, Before>,
        now: Timestamp,
    ) -> Vec<&'a NewUser> {
        let mut replaced = Vec::new();
        for &user in lines {
            match known.get(user.id.as_str()) {
                None => {
                    self.added += 1;
                    self.rows.push((user, now));
                }
                Some(before) if before.differs(user) => {
                    self.changed += 1;
                    replaced.push(user);
                    self.rows.push((user, before.created_at));
                }
                Some(_) => {}
            }
        }
        replaced
    }

    /// The first user whose code is that of a user before it.
    pub(crate) fn code_twice(&self) -> Option<&'a UserId> {
        let mut codes = HashSet::with_capacity(self.rows.len());
        let twice = self
            .rows
            .iter()
            .find(|(user, _)| !codes.insert(user.code_hash));
        twice.map(|(user, _)| &user.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(id: &str, code: u8) -> NewUser {
        NewUser {
            id: UserId::trusted(id),
            code_hash: [code; 32],
            name: None,
        }
    }

    #[test]
    fn the_last_line_of_an_id_counts_and_only_what_differs_is_written() {
        let (first, now) = (Timestamp::from_micros(1), Timestamp::from_micros(9));
        let users = [line("b", 1), line("a", 2), line("c", 3), line("b", 4)];
        let lines = lines(&users);
        let codes: Vec<_> = lines.iter().map(|user| user.code_hash[0]).collect();
        assert_eq!(codes, [2, 4, 3]);
        let before = |code: u8| Before {
            code_hash: vec![code; 32],
            name: None,
            created_at: first,
        };
        let known = BTreeMap::from([("a".to_owned(), before(2)), ("b".to_owned(), before(1))]);
        let mut import = Import::default();
        let replaced = import.take_in(&lines, &known, now);
        assert_eq!((import.added, import.changed), (1, 1));
        assert_eq!(replaced, [&users[3]]);
        assert_eq!(import.rows, [(&users[3], first), (&users[2], now)]);
        assert_eq!(import.code_twice(), None);
        let again = line("d", 3);
        import.take_in(&[&again], &known, now);
        assert_eq!(import.code_twice(), Some(&again.id));
    }
}
