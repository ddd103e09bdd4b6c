//! Words to expressions, from comparisons down to what an expression begins with.

use super::{
    SqlError,
    ast::{Call, Expr, Op},
    lex::Token,
    parse::{Parser, type_named},
    value::Value,
};

impl Parser {
    pub(super) fn comparison(&mut self) -> Result<Expr, SqlError> {
        let left = self.sum()?;
        if self.word("is") {
            let negated = self.word("not");
            self.expect_word("null")?;
            return Ok(negate(negated, Expr::IsNull(Box::new(left))));
        }
        let negated = self.word("not");
        if self.word("in") {
            self.expect_sign("(")?;
            let list = self.list()?;
            self.expect_sign(")")?;
            return Ok(negate(negated, Expr::In(Box::new(left), list)));
        }
        if self.word("between") {
            let from = Box::new(self.sum()?);
            self.expect_word("and")?;
            let between = Expr::Between(Box::new(left), from, Box::new(self.sum()?));
            return Ok(negate(negated, between));
        }
        if self.word("like") {
            let like = Expr::Like(Box::new(left), Box::new(self.sum()?));
            return Ok(negate(negated, like));
        }
        if negated {
            return self.unexpected();
        }
        let ops = [
            ("=", Op::Equal),
            ("<>", Op::NotEqual),
            ("!=", Op::NotEqual),
            ("<=", Op::LessOrEqual),
            (">=", Op::GreaterOrEqual),
            ("<", Op::Less),
            (">", Op::Greater),
        ];
        match self.one_of(&ops) {
            Some(op) => {
                let right = self.sum()?;
                self.binary(left, op, right)
            }
            None => Ok(left),
        }
    }

    fn sum(&mut self) -> Result<Expr, SqlError> {
        let ops = [("+", Op::Add), ("-", Op::Subtract), ("||", Op::Concat)];
        let mut left = self.product()?;
        while let Some(op) = self.one_of(&ops) {
            let right = self.product()?;
            left = self.binary(left, op, right)?;
        }
        Ok(left)
    }

    fn product(&mut self) -> Result<Expr, SqlError> {
        let ops = [("*", Op::Multiply), ("/", Op::Divide), ("%", Op::Modulo)];
        let mut left = self.unary()?;
        while let Some(op) = self.one_of(&ops) {
            let right = self.unary()?;
            left = self.binary(left, op, right)?;
        }
        Ok(left)
    }

    fn one_of(&mut self, ops: &[(&str, Op)]) -> Option<Op> {
        let found = ops.iter().find(|(sign, _)| self.sign(sign));
        found.map(|(_, op)| *op)
    }

    fn unary(&mut self) -> Result<Expr, SqlError> {
        if self.sign("-") {
            let inner = self.nested(Self::unary)?;
            return Ok(Expr::Negative(Box::new(inner)));
        }
        if self.sign("+") {
            return self.nested(Self::unary);
        }
        self.primary()
    }

    fn primary(&mut self) -> Result<Expr, SqlError> {
        if self.sign("(") {
            let inner = self.expr()?;
            self.expect_sign(")")?;
            return Ok(inner);
        }
        let literal = match self.peek() {
            Some(Token::Int(int)) => Value::Int(*int),
            Some(Token::Float(float)) => Value::Float(*float),
            Some(Token::Text(text)) => Value::Text(text.clone()),
            Some(Token::Word(word)) => match word.to_ascii_lowercase().as_str() {
                "null" => Value::Null,
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                "case" => {
                    self.next();
                    return self.case();
                }
                _ => return self.named(),
            },
            _ => return self.named(),
        };
        self.next();
        Ok(Expr::Literal(literal))
    }

    /// What begins with a name: a column or a call.
    fn named(&mut self) -> Result<Expr, SqlError> {
        let quoted = matches!(self.peek(), Some(Token::Quoted(_)));
        let Some(mut name) = self.name() else {
            return self.unexpected();
        };
        if !quoted && self.sign("(") {
            return self.call(&name.to_ascii_lowercase());
        }
        // There is one table, so what stands before the dot says nothing.
        while self.sign(".") {
            match self.name() {
                Some(part) => name = part,
                None => return self.unexpected(),
            }
        }
        Ok(Expr::Column(name))
    }

    /// A call of `name`, behind its opening parenthesis.
    fn call(&mut self, name: &str) -> Result<Expr, SqlError> {
        if name == "cast" || name == "try_cast" {
            return self.cast(name == "try_cast");
        }
        let mut call = Call {
            name: name.to_owned(),
            distinct: self.word("distinct"),
            args: Vec::new(),
        };
        if name == "count" && self.sign("*") {
            call.args.push(Expr::Literal(Value::Int(1)));
            self.expect_sign(")")?;
        } else if !self.sign(")") {
            call.args = self.list()?;
            self.expect_sign(")")?;
        } else if name == "count" {
            call.args.push(Expr::Literal(Value::Int(1)));
        }
        Ok(Expr::Call(call))
    }

    fn cast(&mut self, lenient: bool) -> Result<Expr, SqlError> {
        let expr = Box::new(self.expr()?);
        self.expect_word("as")?;
        let Some(name) = self.name() else {
            return self.unexpected();
        };
        let to = type_named(&name)
            .ok_or_else(|| SqlError::new(format!("type `{name}` is not supported")))?;
        self.expect_sign(")")?;
        Ok(Expr::Cast { expr, to, lenient })
    }

    /// Behind the word `case`.
    fn case(&mut self) -> Result<Expr, SqlError> {
        let at_when =
            matches!(self.peek(), Some(Token::Word(word)) if word.eq_ignore_ascii_case("when"));
        let operand = if at_when {
            None
        } else {
            Some(Box::new(self.expr()?))
        };
        let mut whens = Vec::new();
        while self.word("when") {
            let when = self.expr()?;
            self.expect_word("then")?;
            whens.push((when, self.expr()?));
        }
        if whens.is_empty() {
            return self.unexpected();
        }
        let otherwise = if self.word("else") {
            Some(Box::new(self.expr()?))
        } else {
            None
        };
        self.expect_word("end")?;
        Ok(Expr::Case {
            operand,
            whens,
            otherwise,
        })
    }
}

fn negate(negated: bool, expr: Expr) -> Expr {
    if negated {
        Expr::Not(Box::new(expr))
    } else {
        expr
    }
}
