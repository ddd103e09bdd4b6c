//! Text to a search: recursive descent.

use super::{Pattern, Range, Search};

/// Nesting deeper than this is refused, so that no search overruns the stack.
const DEPTH_MAX: usize = 48;
/// More operators than this are refused for the same reason: each goes one deeper into what is
/// to the left of it.
const OPERATORS_MAX: usize = 1_000;

/// Reads a search.
///
/// # Errors
/// What is wrong with it, for its author.
pub fn parse(text: &str) -> Result<Search, String> {
    let mut parser = Parser {
        tokens: lex(text)?,
        at: 0,
        depth: 0,
        operators: 0,
    };
    if parser.tokens.is_empty() {
        return Ok(Search::All);
    }
    let search = parser.either()?;
    match parser.tokens.get(parser.at) {
        None => Ok(search),
        Some(token) => Err(format!("syntax error: unexpected `{}`", token.shown())),
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Quoted(String),
    Sign(&'static str),
}

impl Token {
    fn shown(&self) -> &str {
        match self {
            Self::Word(text) | Self::Quoted(text) => text,
            Self::Sign(sign) => sign,
        }
    }
}

const SIGNS: [&str; 10] = [">=", "<=", ">", "<", "=", ":", "(", ")", "[", "]"];

fn lex(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let taken = if rest.starts_with('"') {
            let (quoted, taken) = quoted(rest)?;
            tokens.push(Token::Quoted(quoted));
            taken
        } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            tokens.push(Token::Sign(sign));
            sign.len()
        } else {
            // A tag's name has a colon in it.
            let skip = if rest.starts_with("__tag__:") { 8 } else { 0 };
            let ends = |c: char| c.is_whitespace() || "()[]:<>=\"".contains(c);
            let end = rest[skip..].find(ends).map_or(rest.len(), |at| at + skip);
            tokens.push(Token::Word(rest[..end].to_owned()));
            end
        };
        rest = rest[taken..].trim_start();
    }
    Ok(tokens)
}

/// What stands in double quotes at the start of `rest`, and how many bytes it takes.
fn quoted(rest: &str) -> Result<(String, usize), String> {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((text, at + 1)),
            '\\' => text.extend(chars.next().map(|(_, escaped)| escaped)),
            _ => text.push(c),
        }
    }
    Err("syntax error: a quote is not closed".to_owned())
}

/// Words that mean something between searches; in quotes they can be searched for.
fn is_operator(word: &str) -> bool {
    let operators = ["and", "or", "not"];
    operators
        .iter()
        .any(|operator| word.eq_ignore_ascii_case(operator))
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
    operators: usize,
}

impl Parser {
    fn sign(&mut self, sign: &str) -> bool {
        let found = matches!(self.tokens.get(self.at), Some(Token::Sign(next)) if *next == sign);
        self.at += usize::from(found);
        found
    }

    fn word(&mut self, word: &str) -> bool {
        let found = matches!(self.tokens.get(self.at), Some(Token::Word(next)) if next.eq_ignore_ascii_case(word));
        self.at += usize::from(found);
        found
    }

    fn either(&mut self) -> Result<Search, String> {
        let mut left = self.both()?;
        while self.word("or") {
            self.operator()?;
            left = Search::Or(Box::new(left), Box::new(self.both()?));
        }
        Ok(left)
    }

    /// What stands side by side is searched for together, also without `and`.
    fn both(&mut self) -> Result<Search, String> {
        let mut left = self.one()?;
        loop {
            let written = self.word("and");
            let ends = match self.tokens.get(self.at) {
                None => true,
                Some(Token::Sign(sign)) => *sign == ")",
                Some(Token::Word(word)) => word.eq_ignore_ascii_case("or"),
                Some(Token::Quoted(_)) => false,
            };
            if ends && !written {
                return Ok(left);
            }
            self.operator()?;
            left = Search::And(Box::new(left), Box::new(self.one()?));
        }
    }

    /// Counts an operator between two searches.
    fn operator(&mut self) -> Result<(), String> {
        self.operators += 1;
        if self.operators > OPERATORS_MAX {
            return Err(format!(
                "the search has more than {OPERATORS_MAX} operators"
            ));
        }
        Ok(())
    }

    fn one(&mut self) -> Result<Search, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err("the search is nested too deeply".to_owned());
        }
        let one = self.one_deeper();
        self.depth -= 1;
        one
    }

    fn one_deeper(&mut self) -> Result<Search, String> {
        if self.word("not") {
            return Ok(Search::Not(Box::new(self.one()?)));
        }
        if self.sign("(") {
            let inner = self.either()?;
            return if self.sign(")") {
                Ok(inner)
            } else {
                self.unexpected()
            };
        }
        let first = self.text()?;
        if self.sign(":") {
            return Ok(Search::Field(first.text, self.text()?));
        }
        if self.word("in") {
            return self.range(first.text);
        }
        for (sign, below, within) in [
            (">=", false, true),
            ("<=", true, true),
            (">", false, false),
            ("<", true, false),
        ] {
            if self.sign(sign) {
                let bound = Some((self.number()?, within));
                let range = if below {
                    Range {
                        from: None,
                        to: bound,
                    }
                } else {
                    Range {
                        from: bound,
                        to: None,
                    }
                };
                return Ok(Search::Range(first.text, range));
            }
        }
        if self.sign("=") {
            let bound = Some((self.number()?, true));
            let range = Range {
                from: bound,
                to: bound,
            };
            return Ok(Search::Range(first.text, range));
        }
        if first.text == "*" && !first.quoted {
            return Ok(Search::All);
        }
        Ok(Search::Keyword(first))
    }

    /// `[a b]`, where a round bracket leaves its bound out.
    fn range(&mut self, name: String) -> Result<Search, String> {
        let from_within = self.sign("[");
        if !from_within && !self.sign("(") {
            return self.unexpected();
        }
        let from = Some((self.number()?, from_within));
        let to = self.number()?;
        let to_within = self.sign("]");
        if !to_within && !self.sign(")") {
            return self.unexpected();
        }
        let to = Some((to, to_within));
        Ok(Search::Range(name, Range { from, to }))
    }

    fn text(&mut self) -> Result<Pattern, String> {
        let (text, quoted) = match self.tokens.get(self.at) {
            Some(Token::Word(text)) if !is_operator(text) => (text.clone(), false),
            Some(Token::Quoted(text)) => (text.clone(), true),
            _ => return self.unexpected(),
        };
        self.at += 1;
        Ok(Pattern { text, quoted })
    }

    fn number(&mut self) -> Result<f64, String> {
        let text = self.text()?.text;
        text.parse()
            .map_err(|_| format!("syntax error: `{text}` is not a number"))
    }

    fn unexpected<T>(&self) -> Result<T, String> {
        Err(match self.tokens.get(self.at) {
            Some(token) => format!("syntax error: unexpected `{}`", token.shown()),
            None => "syntax error: the search ends too early".to_owned(),
        })
    }
}
