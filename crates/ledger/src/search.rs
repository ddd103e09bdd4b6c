//! Which winners a query means, the same for every database.

use rules::PacketId;

use crate::{Winner, WinnersQuery};

/// The packet that is meant when the text searched for is a packet's id.
pub(crate) fn exact(query: &WinnersQuery) -> Option<PacketId> {
    query.search.as_deref()?.trim().parse().ok()
}

/// The LIKE pattern, with `!` as its escape, for ids that contain `text`, whatever signs stand
/// in it. (A backslash means too many things to too many databases.)
pub(crate) fn containing(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push('%');
    for sign in text.chars() {
        if matches!(sign, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(sign);
    }
    pattern.push('%');
    pattern
}

/// The page of `query` out of all `wins` of the one user that it names: a user has few, so they
/// are searched and paged here.
pub(crate) fn page_of_user(mut wins: Vec<Winner>, query: &WinnersQuery) -> Vec<Winner> {
    let exact = exact(query);
    let text = query.search.as_deref().map(str::to_ascii_lowercase);
    let named = |winner: &Winner| {
        let id = winner.user.as_str().to_ascii_lowercase();
        text.as_deref().is_none_or(|text| id.contains(text))
    };
    wins.retain(|winner| query.after.is_none_or(|after| winner.win.packet > after));
    wins.retain(|winner| exact == Some(winner.win.packet) || named(winner));
    wins.sort_by_key(|winner| winner.win.packet);
    wins.truncate(query.limit as usize);
    wins
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_of_the_pattern_language_are_escaped() {
        assert_eq!(containing("a"), "%a%");
        assert_eq!(containing("50%_!\\"), "%50!%!_!!\\%");
    }

    #[test]
    fn a_packet_is_known_by_its_id() {
        let query = |text: &str| WinnersQuery {
            search: Some(text.into()),
            ..WinnersQuery::default()
        };
        let packet = PacketId { wave: 2, index: 17 };
        assert_eq!(exact(&query(" 2-17 ")), Some(packet));
        assert_eq!(exact(&query("2-17x")), None);
        assert_eq!(exact(&WinnersQuery::default()), None);
    }
}
