//! What is worked out: sums, products, and what they are made of.

use super::super::calc::{Calc, Num, Operator};
use super::super::lexer::{Kind, Token};
use super::super::number::Number;
use super::super::{DEPTH_MAX, ExprError};
use super::{Parser, Tree, Type, is_comparison, is_keyword};

impl<'a> Parser<'a> {
    pub(super) fn sum(&mut self) -> Result<Tree, ExprError> {
        let first = self.token.clone();
        let mut tree = self.product()?;
        loop {
            let operator = match self.token.kind {
                Kind::Plus => Operator::Add,
                Kind::Minus if self.is_apart(&first)? => Operator::Subtract,
                // The sign of the number is the operator: `a -1`.
                Kind::Number(text) if text.starts_with('-') && self.is_apart(&first)? => {
                    self.token = Token {
                        kind: Kind::Number(&text[1..]),
                        start: self.token.start + 1,
                        len: text.len() - 1,
                    };
                    let right = self.product()?;
                    tree = self.arithmetic(Operator::Subtract, tree, right, &first)?;
                    continue;
                }
                _ => return Ok(tree),
            };
            self.take()?;
            let right = self.product()?;
            tree = self.arithmetic(operator, tree, right, &first)?;
        }
    }

    /// Whether the minus that is next does not stand in what was meant as one name: `x-request-id`.
    fn is_apart(&self, first: &Token<'_>) -> Result<bool, ExprError> {
        let before = &self.text[first.start..self.token.start];
        let in_name = before.ends_with(|last: char| last.is_alphanumeric() || last == '_');
        let is_name = matches!(first.kind, Kind::Word(_));
        match in_name && is_name && !before.contains([' ', '(']) {
            true if self.token.kind == Kind::Minus => {
                let rest = &self.text[self.token.start..];
                let end = rest.find([' ', ')', ',']).unwrap_or(rest.len());
                let whole = &self.text[first.start..self.token.start + end];
                let message = format!(
                    "a name with such letters stands in backticks: `{whole}`; to subtract, put spaces around the `-`"
                );
                Err(ExprError { message, start: first.start, len: whole.len() })
            }
            in_one => Ok(!in_one),
        }
    }

    fn product(&mut self) -> Result<Tree, ExprError> {
        let first = self.token.clone();
        let mut tree = self.operand()?;
        loop {
            let operator = match self.token.kind {
                Kind::Star => Operator::Multiply,
                Kind::Slash => Operator::Divide,
                Kind::Percent => Operator::Remainder,
                _ => return Ok(tree),
            };
            self.take()?;
            let right = self.operand()?;
            tree = self.arithmetic(operator, tree, right, &first)?;
        }
    }

    fn arithmetic(
        &mut self,
        operator: Operator,
        left: Tree,
        right: Tree,
        first: &Token<'_>,
    ) -> Result<Tree, ExprError> {
        self.operators += 1;
        if self.operators > 2 * DEPTH_MAX {
            return Err(self.token.error(format!("more than {} operators that compute", 2 * DEPTH_MAX)));
        }
        let ((left, one), (right, other)) = (self.value(left, first)?, self.value(right, first)?);
        let of = match (operator, one, other) {
            (_, Type::Truth, _) | (_, _, Type::Truth) => {
                return Err(self.span(
                    first,
                    "a condition cannot be computed with: `if(CONDITION, 1, 0)` gives a number",
                ));
            }
            (Operator::Add, Type::Text, _) | (Operator::Add, _, Type::Text) => Type::Text,
            (Operator::Add, Type::Number, Type::Number) => Type::Number,
            (Operator::Add, ..) => Type::Any,
            (_, Type::Text, _) | (_, _, Type::Text) => {
                return Err(self.span(first, "numbers are needed here; `number(...)` reads one of a text"));
            }
            _ => Type::Number,
        };
        Ok(Tree::Value(Calc::Arithmetic(operator, Box::new([left, right])), of))
    }

    /// The tree that begins with `first`, which must be a value.
    pub(super) fn value(&self, tree: Tree, first: &Token<'_>) -> Result<(Calc, Type), ExprError> {
        match tree {
            Tree::Value(calc, of) => Ok((calc, of)),
            Tree::Condition(_) => Err(self.span(
                first,
                "this is a condition, where a value is needed: `if(CONDITION, 1, 0)` makes one",
            )),
        }
    }

    /// An error about what stands between `first` and the next token.
    pub(super) fn span(&self, first: &Token<'_>, message: impl Into<String>) -> ExprError {
        let len = self.text[first.start..self.token.start].trim_end().len();
        ExprError { message: message.into(), start: first.start, len }
    }

    fn operand(&mut self) -> Result<Tree, ExprError> {
        let first = self.token.clone();
        match &first.kind {
            Kind::Open => self.inside(),
            Kind::Word(word) => {
                let next = self.peek()?.kind;
                if next == Kind::Open && !is_keyword(word) {
                    return self.function(word);
                }
                if *word == "exists" && !is_comparison(&next) && next != Kind::Dot {
                    return self.exists().map(Tree::Condition);
                }
                if matches!(*word, "true" | "false" | "null") && next != Kind::Dot {
                    self.take()?;
                    return Ok(match *word {
                        "null" => Tree::Value(Calc::Null, Type::Any),
                        word => Tree::Value(Calc::Bool(word == "true"), Type::Any),
                    });
                }
                self.subject_value()
            }
            Kind::Text(text) => {
                let calc = Calc::Text(text.as_str().into());
                self.take()?;
                Ok(Tree::Value(calc, Type::Text))
            }
            Kind::Number(text) => match Num::parse(text.as_bytes()) {
                Some(number) => {
                    self.take()?;
                    Ok(Tree::Value(Calc::Number(number), Type::Number))
                }
                None if Number::is_one(text.as_bytes()) => {
                    Err(first.error("this number is too large to compute with"))
                }
                None => Err(first.error(format!(
                    "`{text}` is no number; text stands in quotes: \"{text}\"; operators stand between spaces"
                ))),
            },
            _ => self.subject_value(),
        }
    }

    /// What stands in parentheses.
    fn inside(&mut self) -> Result<Tree, ExprError> {
        let open = self.take()?;
        let inside = self.token.clone();
        let tree = self.any()?;
        if self.token.kind == Kind::Close {
            self.take()?;
            return Ok(tree);
        }
        if let Tree::Value(..) = tree
            && self.token.kind != Kind::End
        {
            return Err(self.no_operator(&inside));
        }
        Err(match self.token.kind {
            Kind::End => open.error("this `(` is never closed"),
            _ => self.token.error("`and`, `or` or `)` is missing before this"),
        })
    }

    fn subject_value(&mut self) -> Result<Tree, ExprError> {
        self.subject().map(|subject| Tree::Value(Calc::Subject(subject), Type::Any))
    }

    /// Whether what is next, on the right of a comparison, has to be worked out: all but literals and bare words.
    pub(super) fn is_worked_out(&self) -> Result<bool, ExprError> {
        let next = self.peek()?.kind;
        let computes = matches!(next, Kind::Plus | Kind::Minus | Kind::Star | Kind::Slash | Kind::Percent);
        Ok(match self.token.kind {
            Kind::Open => true,
            Kind::Word("fields" | "labels") => next == Kind::Dot,
            Kind::Word(word) if is_keyword(word) => false,
            Kind::Word(_) => next == Kind::Open,
            Kind::Text(_) | Kind::Number(_) => computes,
            _ => false,
        })
    }
}
