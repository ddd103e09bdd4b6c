//! A statement's words.

use super::SqlError;

/// A word of a statement.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token {
    /// A name or keyword, as written.
    Word(String),
    /// A name in double quotes, or in backquotes.
    Quoted(String),
    /// Text in single quotes.
    Text(String),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// Punctuation or an operator.
    Sign(&'static str),
}

/// Longer ones first, so that `<=` is not read as `<`.
const SIGNS: [&str; 18] = [
    "<>", "!=", "<=", ">=", "||", "(", ")", ",", "*", "+", "-", "/", "%", "=", "<", ">", ".", ";",
];

/// Takes `text` apart.
pub(crate) fn lex(text: &str) -> Result<Vec<Token>, SqlError> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, bytes) = match first {
            '\'' => quoted(rest, '\'').map(|(text, bytes)| (Token::Text(text), bytes))?,
            '"' | '`' => quoted(rest, first).map(|(name, bytes)| (Token::Quoted(name), bytes))?,
            _ if first.is_ascii_digit() => number(rest)?,
            _ if first.is_alphabetic() || first == '_' => {
                let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
                let word = &rest[..end.unwrap_or(rest.len())];
                (Token::Word(word.to_owned()), word.len())
            }
            _ if rest.starts_with("--") => {
                rest = rest
                    .split_once('\n')
                    .map_or("", |(_, next)| next)
                    .trim_start();
                continue;
            }
            _ => {
                let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign));
                let sign =
                    sign.ok_or_else(|| SqlError::new(format!("unexpected character `{first}`")))?;
                (Token::Sign(sign), sign.len())
            }
        };
        tokens.push(token);
        rest = rest[bytes..].trim_start();
    }
    Ok(tokens)
}

/// What stands in quotes at the start of `rest`, where a doubled quote is one, and how many
/// bytes it takes with them.
fn quoted(rest: &str, quote: char) -> Result<(String, usize), SqlError> {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c != quote {
            text.push(c);
        } else if chars.peek().is_some_and(|&(_, next)| next == quote) {
            text.push(c);
            chars.next();
        } else {
            return Ok((text, at + 1));
        }
    }
    Err(SqlError::new(format!("a {quote} is not closed")))
}

fn number(rest: &str) -> Result<(Token, usize), SqlError> {
    let digits = |from: usize| {
        rest[from..]
            .find(|c: char| !c.is_ascii_digit())
            .map_or(rest.len(), |end| from + end)
    };
    let mut end = digits(0);
    let whole = end;
    if rest[end..].starts_with('.') {
        end = digits(end + 1);
    }
    if rest[end..].starts_with(['e', 'E']) {
        let sign = usize::from(rest[end + 1..].starts_with(['+', '-']));
        let exponent = digits(end + 1 + sign);
        if exponent > end + 1 + sign {
            end = exponent;
        }
    }
    let text = &rest[..end];
    let token = if end == whole
        && let Ok(int) = text.parse()
    {
        Token::Int(int)
    } else {
        let float = text.parse();
        Token::Float(float.map_err(|_| SqlError::new(format!("`{text}` is no number")))?)
    };
    Ok((token, end))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_signs_texts_and_numbers() {
        let tokens = lex("select a_1, \"x y\" -- note\n<= 'it''s' 12 1.5e3||3").expect("fine");
        let expected = [
            Token::Word("select".into()),
            Token::Word("a_1".into()),
            Token::Sign(","),
            Token::Quoted("x y".into()),
            Token::Sign("<="),
            Token::Text("it's".into()),
            Token::Int(12),
            Token::Float(1500.0),
            Token::Sign("||"),
            Token::Int(3),
        ];
        assert_eq!(tokens, expected);
        assert!(lex("select 'a").is_err());
        assert!(lex("select $1").is_err());
    }

    proptest! {
        #[test]
        fn nothing_panics(text in ".{0,60}") {
            if let Ok(tokens) = lex(&text) {
                prop_assert!(tokens.len() <= text.len());
            }
        }
    }
}
