//! The language of queries: a search, and after a `|` an SQL statement over what it found.
//!
//! It covers what statistics need and says clearly what it does not know; it never guesses.
//!
//! # Layout
//! - [`search`]: the part before the `|`.
//! - [`sql`]: the part behind it.

pub mod search;
pub mod sql;

/// A query's two parts, as they were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts<'a> {
    /// The search; `*` when none was written.
    pub search: &'a str,
    /// The statement.
    pub sql: Option<&'a str>,
}

/// Takes a query apart at the first `|` outside of quotes.
#[must_use]
pub fn split(query: &str) -> Parts<'_> {
    let mut quoted = false;
    let mut escaped = false;
    let bar = query.char_indices().find(|&(_, c)| {
        if c == '"' && !escaped {
            quoted = !quoted;
        }
        escaped = c == '\\' && !escaped;
        c == '|' && !quoted
    });
    let (search, sql) = match bar {
        Some((at, _)) => (&query[..at], Some(query[at + 1..].trim())),
        None => (query, None),
    };
    let search = search.trim();
    Parts {
        search: if search.is_empty() { "*" } else { search },
        sql: sql.filter(|sql| !sql.is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_split_at_the_first_bar_outside_quotes() {
        let parts = |query| {
            let Parts { search, sql } = split(query);
            (search, sql)
        };
        assert_eq!(parts(""), ("*", None));
        assert_eq!(parts("a: 1"), ("a: 1", None));
        assert_eq!(parts(" * | select 1 "), ("*", Some("select 1")));
        assert_eq!(parts("|select '|'"), ("*", Some("select '|'")));
        assert_eq!(parts(r#""a|b" | select 2"#), (r#""a|b""#, Some("select 2")));
        assert_eq!(parts(r#""a\"|b"|"#), (r#""a\"|b""#, None));
    }
}
