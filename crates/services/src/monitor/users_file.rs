//! A list of users as organisers send it: CSV or JSON lines of code, user and optional name.
//!
//! A refusal names the line and the field, and never repeats a code: codes are secrets.

use std::collections::HashSet;

use rules::UserId;
use serde::Deserialize;

use crate::{
    account::codes::Code,
    http::{ApiError, json},
};

/// The most users in one import.
pub(crate) const USERS_PER_IMPORT_MAX: usize = 200_000;
/// The longest name, in characters.
const NAME_CHARS_MAX: usize = 120;

/// One user of a list.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) code: Code,
    pub(crate) user: UserId,
    pub(crate) name: Option<String>,
}

/// Keeps what was read, and refuses what was there before.
#[derive(Default)]
struct Lines {
    lines: Vec<Line>,
    codes: HashSet<String>,
    users: HashSet<UserId>,
}

impl Lines {
    fn add(
        &mut self,
        number: u64,
        code: &str,
        user: &str,
        name: Option<&str>,
    ) -> Result<(), ApiError> {
        let refuse = |field: &str, reason: &dyn std::fmt::Display| {
            Err(ApiError::invalid(
                field,
                format!("in line {number} {reason}"),
            ))
        };
        if self.lines.len() >= USERS_PER_IMPORT_MAX {
            let reason = format!("is one too many: at most {USERS_PER_IMPORT_MAX} at once");
            return refuse("user", &reason);
        }
        let normal = match rules::ids::normal_name(code) {
            Ok(normal) => normal,
            Err(refusal) => return refuse("code", &refusal),
        };
        let code = match Code::new(&normal) {
            Ok(code) => code,
            Err(refusal) => return refuse("code", &refusal),
        };
        let user = match UserId::new(user) {
            Ok(user) => user,
            Err(refusal) => return refuse("user", &refusal),
        };
        let name = name.map(str::trim).filter(|name| !name.is_empty());
        if name.is_some_and(|name| name.chars().any(char::is_control)) {
            return refuse("name", &"contains a control character");
        }
        if name.is_some_and(|name| name.chars().count() > NAME_CHARS_MAX) {
            return refuse(
                "name",
                &format!("is longer than {NAME_CHARS_MAX} characters"),
            );
        }
        if !self.codes.insert(normal) {
            return refuse("code", &"stands in an earlier line too");
        }
        if !self.users.insert(user.clone()) {
            return refuse("user", &"stands in an earlier line too");
        }
        let name = name.map(str::to_owned);
        self.lines.push(Line { code, user, name });
        Ok(())
    }
}

/// Which column holds what.
struct Columns {
    code: usize,
    user: usize,
    name: Option<usize>,
}

/// The users of a CSV file. Its first line may name the columns, in any order; without it they
/// are code, user, name. A first line with any of these names is one that names the columns.
///
/// # Errors
/// 400, naming line and field.
pub(crate) fn csv(body: &[u8]) -> Result<Vec<Line>, ApiError> {
    // Spreadsheets put a byte order mark before what they export.
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(body);
    let mut lines = Lines::default();
    let mut columns = Columns {
        code: 0,
        user: 1,
        name: Some(2),
    };
    for (place, record) in reader.records().enumerate() {
        let record = record.map_err(|error| unreadable(error.position(), &error))?;
        let number = record.position().map_or(0, csv::Position::line);
        if place == 0
            && let Some(named) = header(&record)?
        {
            columns = named;
            continue;
        }
        let most = columns.name.map_or(2, |_| 3);
        if record.len() > most {
            let reason = format!("in line {number} has more than {most} fields");
            return Err(ApiError::invalid("body", reason));
        }
        let cell = |column: usize| record.get(column).unwrap_or_default();
        let name = columns.name.map(cell);
        lines.add(number, cell(columns.code), cell(columns.user), name)?;
    }
    Ok(lines.lines)
}

fn header(record: &csv::StringRecord) -> Result<Option<Columns>, ApiError> {
    let known = ["code", "user", "name"];
    let named = known.map(|name| {
        let cells = record.iter().enumerate();
        let cells = cells.filter(|(_, cell)| cell.trim().eq_ignore_ascii_case(name));
        cells.map(|(place, _)| place).collect::<Vec<_>>()
    });
    if named.iter().all(Vec::is_empty) {
        return Ok(None);
    }
    let refuse = |name, reason| Err(ApiError::invalid(name, reason));
    if let Some((name, _)) = known
        .iter()
        .zip(&named)
        .find(|(_, places)| places.len() > 1)
    {
        return refuse(name, "is a column twice");
    }
    let missing = "is missing among the columns that the first line names";
    let columns = match named.map(|places| places.first().copied()) {
        [Some(code), Some(user), name] => Columns { code, user, name },
        [None, ..] => return refuse("code", missing),
        [_, None, _] => return refuse("user", missing),
    };
    // Only now: a cell of a first line that names one column by chance may be a code.
    let unknown = record
        .iter()
        .map(str::trim)
        .find(|cell| !known.iter().any(|name| cell.eq_ignore_ascii_case(name)));
    if let Some(cell) = unknown {
        let reason = "is an unknown column; there are `code`, `user` and `name`";
        return Err(ApiError::invalid(cell, reason));
    }
    Ok(Some(columns))
}

fn unreadable(position: Option<&csv::Position>, error: &csv::Error) -> ApiError {
    let line = position.map_or_else(String::new, |at| format!(" in line {}", at.line()));
    let reason = match error.kind() {
        csv::ErrorKind::Utf8 { .. } => "is not UTF-8",
        _ => "is no CSV",
    };
    ApiError::invalid("body", format!("{reason}{line}"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonLine {
    /// Of any type, because a refusal of the wrong one would repeat it.
    code: serde_json::Value,
    user: String,
    name: Option<String>,
}

/// The users of a file with one JSON object a line.
///
/// # Errors
/// 400, naming line and field.
pub(crate) fn json_lines(body: &[u8]) -> Result<Vec<Line>, ApiError> {
    let mut lines = Lines::default();
    for (number, text) in (1_u64..).zip(body.split(|&byte| byte == b'\n')) {
        if text.trim_ascii().is_empty() {
            continue;
        }
        let line: JsonLine = json::parse(text).map_err(|refusal| ApiError {
            message: format!("line {number}: {}", refusal.message),
            ..refusal
        })?;
        let Some(code) = line.code.as_str() else {
            let reason = format!("in line {number} must be a text");
            return Err(ApiError::invalid("code", reason));
        };
        lines.add(number, code, &line.user, line.name.as_deref())?;
    }
    Ok(lines.lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(lines: Result<Vec<Line>, ApiError>) -> Vec<(String, Option<String>)> {
        let lines = lines.map_err(|refusal| refusal.message).unwrap();
        let user = |line: Line| (line.user.to_string(), line.name);
        lines.into_iter().map(user).collect()
    }

    #[test]
    fn csv_with_and_without_a_header_and_json_lines_say_the_same() {
        let expected = vec![
            ("bob".to_owned(), Some("Bob, the builder".to_owned())),
            ("李雷".to_owned(), None),
        ];
        let plain = "c1,bob,\"Bob, the builder\"\nc2,李雷\n";
        assert_eq!(users(csv(plain.as_bytes())), expected);
        let headed = "\u{feff}Name,user,code\r\n\"Bob, the builder\",bob,c1\r\n,李雷,c2\r\n";
        assert_eq!(users(csv(headed.as_bytes())), expected);
        let lines = "{\"code\":\"c1\",\"user\":\"bob\",\"name\":\"Bob, the builder\"}\n\n{\"user\":\"李雷\",\"code\":\"c2\"}";
        assert_eq!(users(json_lines(lines.as_bytes())), expected);
    }

    #[test]
    fn refusals_name_line_and_field_and_never_a_code() {
        for (body, expected) in [
            ("secret,bob\n,eve\n", "`code` in line 2 is empty"),
            ("secret,\n", "`user` in line 1 is empty"),
            ("secret\n", "`user` in line 1 is empty"),
            (
                "secret,bob\nsecret,eve\n",
                "`code` in line 2 stands in an earlier line too",
            ),
            (
                "secret,bob\nsecret2,bob\n",
                "`user` in line 2 stands in an earlier line too",
            ),
            (
                "code,user,age\nsecret,bob,7\n",
                "`age` is an unknown column; there are `code`, `user` and `name`",
            ),
            (
                "user,name\nbob,Bob\n",
                "`code` is missing among the columns that the first line names",
            ),
            (
                "Code,name\nsecret,bob\n",
                "`user` is missing among the columns that the first line names",
            ),
            (
                "code,user,user\nsecret,bob,eve\n",
                "`user` is a column twice",
            ),
            (
                "secret,user\nsecret2,bob\n",
                "`code` is missing among the columns that the first line names",
            ),
            (
                "secret,bob,Bob,7\n",
                "`body` in line 1 has more than 3 fields",
            ),
            (
                "secret,bob,B\u{7}b\n",
                "`name` in line 1 contains a control character",
            ),
        ] {
            let message = csv(body.as_bytes()).unwrap_err().message;
            assert_eq!(message, expected);
        }
        for (body, expected) in [
            (
                "{\"code\":\"secret\"}",
                "line 1: missing field `user` at line 1 column 17",
            ),
            (
                "{\"code\":7,\"user\":\"bob\"}",
                "`code` in line 1 must be a text",
            ),
            (
                "\n{\"code\":\"secret\",\"user\":\"bob\",\"age\":7}",
                "line 2: `age` is unknown: expected one of `code`, `user`, `name` at line 1 column 35",
            ),
        ] {
            let message = json_lines(body.as_bytes()).unwrap_err().message;
            assert_eq!(message, expected);
        }
    }

    /// Both kinds of file, of one line.
    fn files(code: &str, user: &str, name: &str) -> [Result<Vec<Line>, ApiError>; 2] {
        let line = serde_json::json!({"code": code, "user": user, "name": name});
        [
            csv(format!("{code},{user},{name}\n").as_bytes()),
            json_lines(line.to_string().as_bytes()),
        ]
    }

    #[test]
    fn every_field_has_its_limits() {
        let (code, user, name) = ("x".repeat(64), "x".repeat(64), "名".repeat(120));
        for lines in files(&code, &user, &name) {
            assert_eq!(users(lines), [(user.clone(), Some(name.clone()))]);
        }
        let longer = |text: &str| format!("{text}x");
        for (code, user, name, field) in [
            (&*longer(&code), "bob", "Bob", "code"),
            ("sec\u{7}ret", "bob", "Bob", "code"),
            ("secret", &*longer(&user), "Bob", "user"),
            ("secret", "b\u{0}b", "Bob", "user"),
            ("secret", "bob", &*longer(&name), "name"),
            ("secret", "bob", "B\u{7}b", "name"),
        ] {
            for lines in files(code, user, name) {
                let refusal = lines.unwrap_err();
                assert_eq!(refusal.code, "invalid_field");
                let expected = format!("`{field}` in line 1 ");
                let said = &refusal.message;
                assert!(said.starts_with(&expected), "{expected}: {said}");
                assert!(!said.contains("sec") && !said.contains("xxx"), "{said}");
            }
        }
    }

    #[test]
    fn wrong_types_and_what_is_no_text_are_refused() {
        for (line, field) in [
            (r#"{"code":"secret","user":7}"#, "`user`"),
            (r#"{"code":"secret","user":null}"#, "`user`"),
            (r#"{"code":"secret","user":"bob","name":7}"#, "`name`"),
            (r#"{"code":"secret","user":"bob","name":["Bob"]}"#, "`name`"),
            (r#"["secret","bob","Bob"]"#, "an object"),
        ] {
            let refusal = json_lines(line.as_bytes()).unwrap_err();
            assert_eq!(refusal.code, "invalid_field", "{line}");
            let said = &refusal.message;
            assert!(
                said.starts_with("line 1: ") && said.contains(field),
                "{said}"
            );
            assert!(!said.contains("secret"), "{said}");
        }
        let refusal = csv(b"secret,bob\nsecret2,b\xffb\n").unwrap_err();
        assert_eq!(refusal.message, "`body` is not UTF-8 in line 2");
        let refusal = json_lines(b"{\"code\":\"secret\",\"user\":\"b\xffb\"}").unwrap_err();
        assert_eq!(refusal.code, "invalid_json");
        assert!(
            refusal.message.starts_with("line 1: "),
            "{}",
            refusal.message
        );
    }

    #[test]
    fn one_list_holds_so_many_users_and_no_more() {
        let line = |n: usize| format!("code-{n},user-{n}\n");
        let mut body: String = (1..=USERS_PER_IMPORT_MAX).map(line).collect();
        assert!(csv(body.as_bytes()).is_ok_and(|lines| lines.len() == USERS_PER_IMPORT_MAX));
        body += &line(0);
        let refusal = csv(body.as_bytes()).unwrap_err();
        let expected = "`user` in line 200001 is one too many: at most 200000 at once";
        assert_eq!(refusal.message, expected);
    }
}
