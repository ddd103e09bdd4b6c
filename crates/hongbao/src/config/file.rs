//! The configuration file. What is wrong with it is said without its values: one of them may be a
//! secret, and what a service says ends in logs.

use anyhow::anyhow;

use super::Settings;

/// Reads the text of a file.
///
/// # Errors
/// When it is not understood: in which line, and at which option.
pub(super) fn read(text: &str) -> anyhow::Result<Settings> {
    toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let before = text.get(..at).unwrap_or_default();
        let number = before.matches('\n').count() + 1;
        let line = text.lines().nth(number - 1).unwrap_or_default();
        let message = without_values(error.message());
        match option_in(line) {
            Some(name) => anyhow!("line {number}, `{name}`: {message}"),
            None => anyhow!("line {number}: {message}"),
        }
    })
}

/// The name of the option that `line` sets.
fn option_in(line: &str) -> Option<&str> {
    let (name, _) = line.split_once('=')?;
    let name = name.trim();
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (!name.is_empty() && name.chars().all(plain)).then_some(name)
}

/// The parser repeats a value of the wrong type between quotes, and then says what it expected.
fn without_values(message: &str) -> String {
    if !message.starts_with("invalid ") {
        return message.to_owned();
    }
    let value = message.find(['`', '"']).unwrap_or(message.len());
    let expected = message.rfind(", expected").unwrap_or(message.len());
    let (before, expected) = (message[..value].trim_end(), &message[expected.max(value)..]);
    format!("{before}{expected}")
}
