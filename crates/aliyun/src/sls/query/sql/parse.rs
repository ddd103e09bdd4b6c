//! Words to a statement: recursive descent, one method for each level of precedence.

use super::{
    SqlError,
    ast::{Expr, From, Item, Op, Select},
    lex::{Token, lex},
    value::Type,
};

/// Nesting deeper than this is refused, so that no statement overruns the stack.
const DEPTH_MAX: usize = 48;
/// More operators than this are refused for the same reason: each goes one deeper into what is
/// to the left of it.
const OPERATORS_MAX: usize = 250;

/// Words that cannot be names unless they are quoted.
const RESERVED: [&str; 30] = [
    "select", "distinct", "from", "where", "group", "by", "having", "order", "limit", "offset",
    "as", "and", "or", "not", "in", "between", "like", "is", "case", "when", "then", "else", "end",
    "asc", "desc", "union", "join", "on", "over", "escape",
];
/// Words that mean something to the service and nothing here.
const UNSUPPORTED: [&str; 8] = [
    "with",
    "union",
    "intersect",
    "except",
    "join",
    "over",
    "nulls",
    "escape",
];

/// Reads a statement.
///
/// # Errors
/// When it is none, or uses what is not supported.
pub fn parse(sql: &str) -> Result<Select, SqlError> {
    let mut parser = Parser {
        tokens: lex(sql)?,
        at: 0,
        depth: 0,
        operators: 0,
    };
    let select = parser.select()?;
    parser.sign(";");
    match parser.peek() {
        None => Ok(select),
        Some(token) => Err(unexpected(token)),
    }
}

pub(super) struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
    operators: usize,
}

fn unexpected(token: &Token) -> SqlError {
    if let Token::Word(word) = token
        && is_among(&UNSUPPORTED, word)
    {
        return SqlError::new(format!("`{word}` is not supported"));
    }
    let shown = match token {
        Token::Word(text) | Token::Quoted(text) | Token::Text(text) => text.clone(),
        Token::Int(int) => int.to_string(),
        Token::Float(float) => float.to_string(),
        Token::Sign(sign) => (*sign).to_owned(),
    };
    SqlError::new(format!("syntax error: unexpected `{shown}`"))
}

impl Parser {
    pub(super) fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    pub(super) fn unexpected<T>(&self) -> Result<T, SqlError> {
        Err(self.peek().map_or_else(
            || SqlError::new("syntax error: the statement ends too early"),
            unexpected,
        ))
    }

    /// Steps over `sign` if it is next.
    pub(super) fn sign(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Sign(next)) if *next == sign);
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect_sign(&mut self, sign: &str) -> Result<(), SqlError> {
        if self.sign(sign) {
            return Ok(());
        }
        self.unexpected()
    }

    /// Steps over `keyword` if it is next.
    pub(super) fn word(&mut self, keyword: &str) -> bool {
        let found =
            matches!(self.peek(), Some(Token::Word(next)) if next.eq_ignore_ascii_case(keyword));
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect_word(&mut self, keyword: &str) -> Result<(), SqlError> {
        if self.word(keyword) {
            return Ok(());
        }
        self.unexpected()
    }

    /// A name: quoted, or a word that is not reserved.
    pub(super) fn name(&mut self) -> Option<String> {
        let name = match self.peek()? {
            Token::Quoted(name) => name.clone(),
            Token::Word(word) if !is_among(&RESERVED, word) => word.clone(),
            _ => return None,
        };
        self.at += 1;
        Some(name)
    }

    pub(super) fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }

    /// Runs `inner` one level deeper.
    pub(super) fn nested<T>(
        &mut self,
        inner: impl FnOnce(&mut Self) -> Result<T, SqlError>,
    ) -> Result<T, SqlError> {
        if self.depth >= DEPTH_MAX {
            return Err(SqlError::new("the statement is nested too deeply"));
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    fn select(&mut self) -> Result<Select, SqlError> {
        self.expect_word("select")?;
        let distinct = self.word("distinct");
        let mut items = vec![self.item(0)?];
        while self.sign(",") {
            items.push(self.item(items.len())?);
        }
        let from = self.from()?;
        let filter = self.word("where").then(|| self.expr()).transpose()?;
        let mut group_by = Vec::new();
        if self.word("group") {
            self.expect_word("by")?;
            group_by = self.list()?;
        }
        let having = self.word("having").then(|| self.expr()).transpose()?;
        let order_by = self.order_by()?;
        let (mut offset, mut limit) = (0, None);
        if self.word("limit") {
            limit = Some(self.count()?);
            if self.sign(",") {
                offset = limit.unwrap_or(0);
                limit = Some(self.count()?);
            }
        }
        if self.word("offset") {
            offset = self.count()?;
            if limit.is_none() && self.word("limit") {
                limit = Some(self.count()?);
            }
        }
        Ok(Select {
            distinct,
            items,
            from,
            filter,
            group_by,
            having,
            order_by,
            offset,
            limit,
        })
    }

    fn item(&mut self, place: usize) -> Result<Item, SqlError> {
        if self.sign("*") {
            return Ok(Item::All);
        }
        let expr = self.expr()?;
        let alias = if self.word("as") {
            match self.name() {
                Some(name) => Some(name),
                None => return self.unexpected(),
            }
        } else {
            self.name()
        };
        let aliased = alias.is_some();
        let name = alias.unwrap_or_else(|| match &expr {
            Expr::Column(name) => name.clone(),
            // The service numbers what has no name.
            _ => format!("_col{place}"),
        });
        Ok(Item::One {
            expr,
            name,
            aliased,
        })
    }

    fn from(&mut self) -> Result<From, SqlError> {
        if !self.word("from") {
            return Ok(From::Log);
        }
        let from = if self.sign("(") {
            let select = self.nested(Self::select)?;
            self.expect_sign(")")?;
            From::Select(Box::new(select))
        } else if self.name().is_some() {
            From::Log
        } else {
            return self.unexpected();
        };
        let alias = self.word("as");
        if self.name().is_none() && alias {
            return self.unexpected();
        }
        Ok(from)
    }

    fn order_by(&mut self) -> Result<Vec<(Expr, bool)>, SqlError> {
        let mut order_by = Vec::new();
        if self.word("order") {
            self.expect_word("by")?;
            loop {
                let expr = self.expr()?;
                let descending = self.word("desc");
                if !descending {
                    self.word("asc");
                }
                order_by.push((expr, descending));
                if !self.sign(",") {
                    break;
                }
            }
        }
        Ok(order_by)
    }

    fn count(&mut self) -> Result<usize, SqlError> {
        if let Some(Token::Int(int)) = self.peek()
            && let Ok(count) = usize::try_from(*int)
        {
            self.at += 1;
            return Ok(count);
        }
        self.unexpected()
    }

    pub(super) fn list(&mut self) -> Result<Vec<Expr>, SqlError> {
        let mut list = vec![self.expr()?];
        while self.sign(",") {
            list.push(self.expr()?);
        }
        Ok(list)
    }

    /// An expression.
    pub(super) fn expr(&mut self) -> Result<Expr, SqlError> {
        self.nested(|this| {
            let mut left = this.conjunction()?;
            while this.word("or") {
                let right = this.conjunction()?;
                left = this.binary(left, Op::Or, right)?;
            }
            Ok(left)
        })
    }

    fn conjunction(&mut self) -> Result<Expr, SqlError> {
        let mut left = self.negation()?;
        while self.word("and") {
            let right = self.negation()?;
            left = self.binary(left, Op::And, right)?;
        }
        Ok(left)
    }

    /// An operator between two expressions.
    pub(super) fn binary(&mut self, left: Expr, op: Op, right: Expr) -> Result<Expr, SqlError> {
        self.operators += 1;
        if self.operators > OPERATORS_MAX {
            let message = format!("the statement has more than {OPERATORS_MAX} operators");
            return Err(SqlError::new(message));
        }
        Ok(Expr::Binary(Box::new(left), op, Box::new(right)))
    }

    fn negation(&mut self) -> Result<Expr, SqlError> {
        if self.word("not") {
            let inner = self.nested(Self::negation)?;
            return Ok(Expr::Not(Box::new(inner)));
        }
        self.comparison()
    }
}

fn is_among(words: &[&str], word: &str) -> bool {
    words.iter().any(|known| word.eq_ignore_ascii_case(known))
}

/// The type that `name` names.
pub(super) fn type_named(name: &str) -> Option<Type> {
    let types = [
        (Type::Int, ["bigint", "integer", "long", "int"].as_slice()),
        (Type::Float, &["double", "real", "float", "decimal"]),
        (Type::Text, &["varchar", "text", "string", "char"]),
        (Type::Bool, &["boolean", "bool"]),
    ];
    let named = |(_, names): &&(Type, &[&str])| names.iter().any(|n| name.eq_ignore_ascii_case(n));
    types.iter().find(named).map(|(found, _)| *found)
}
