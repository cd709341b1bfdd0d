//! Tokens to a tree, by descent: one function per line of the grammar. What is tested, and its literals: `tested`.

mod tested;

use super::lexer::{self, Kind, Token};
use super::subject::Subject;
use super::test::{List, Order, Test};
use super::value::Literal;
use super::{DEPTH_MAX, ExprError, LEN_MAX, Node};
use memchr::memmem::Finder;
use regex::bytes::Regex;
use std::cmp::Ordering;

/// Words that join or begin conditions, and so are no names unless they stand behind `fields.` or in backticks.
const KEYWORDS: [&str; 5] = ["and", "or", "not", "in", "exists"];
const FUNCTIONS: [&str; 3] = ["contains", "starts_with", "ends_with"];

struct Parser<'a> {
    text: &'a str,
    /// The next token.
    token: Token<'a>,
    depth: usize,
}

/// The tree of the condition `text`.
pub fn parse(text: &str) -> Result<Node, ExprError> {
    if text.len() > LEN_MAX {
        let message = format!("a condition may have {LEN_MAX} bytes, this one has {}", text.len());
        let start = text.floor_char_boundary(LEN_MAX);
        return Err(ExprError { message, start, len: text.len() - start });
    }
    let mut parser = Parser { text, token: lexer::next(text, 0)?, depth: 0 };
    let node = parser.any()?;
    match &parser.token.kind {
        Kind::End => Ok(node),
        Kind::Close => Err(parser.token.error("this `)` closes nothing")),
        kind if is_comparison(kind) => {
            Err(parser.token.error("one comparison at a time: join them with `and`"))
        }
        Kind::Word(word) if is_keyword(&word.to_ascii_lowercase()) => {
            Err(parser.token.error(format!("keywords are in lower case: `{}`", word.to_ascii_lowercase())))
        }
        _ => Err(parser.token.error("`and` or `or` is missing before this")),
    }
}

/// The subject that `text` is, and nothing behind it.
pub fn parse_subject(text: &str) -> Result<Subject, ExprError> {
    let mut parser = Parser { text, token: lexer::next(text, 0)?, depth: 0 };
    let subject = parser.subject()?;
    match parser.token.kind {
        Kind::End => Ok(subject),
        _ => Err(parser.token.error("one name is expected, as in `level` or `labels.app`")),
    }
}

fn is_keyword(word: &str) -> bool {
    KEYWORDS.contains(&word)
}

fn is_comparison(kind: &Kind<'_>) -> bool {
    use Kind::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, Matches, MatchesNot, Unequal};
    matches!(kind, Equal | Unequal | Less | LessOrEqual | Greater | GreaterOrEqual | Matches | MatchesNot)
}

/// What an operator asks of what stands before it.
enum Operator {
    Equals,
    Stands(Order),
    Matches,
    In,
}

impl<'a> Parser<'a> {
    /// Takes the next token.
    fn take(&mut self) -> Result<Token<'a>, ExprError> {
        let next = self.peek()?;
        Ok(std::mem::replace(&mut self.token, next))
    }

    /// The token behind the next one.
    fn peek(&self) -> Result<Token<'a>, ExprError> {
        lexer::next(self.text, self.token.start + self.token.len)
    }

    /// Takes the next token if it is this keyword.
    fn keyword(&mut self, word: &str) -> Result<bool, ExprError> {
        let there = self.token.kind == Kind::Word(word);
        if there {
            self.take()?;
        }
        Ok(there)
    }

    /// Takes the next token, which must be `kind`.
    fn expect(&mut self, kind: &Kind<'_>, missing: &str) -> Result<(), ExprError> {
        if self.token.kind != *kind {
            return Err(self.token.error(missing));
        }
        self.take().map(drop)
    }

    fn any(&mut self) -> Result<Node, ExprError> {
        let mut nodes = vec![self.all()?];
        while self.keyword("or")? {
            nodes.push(self.all()?);
        }
        Ok(if nodes.len() == 1 { nodes.remove(0) } else { Node::Any(nodes.into()) })
    }

    fn all(&mut self) -> Result<Node, ExprError> {
        let mut nodes = vec![self.one()?];
        while self.keyword("and")? {
            nodes.push(self.one()?);
        }
        Ok(if nodes.len() == 1 { nodes.remove(0) } else { Node::All(nodes.into()) })
    }

    fn one(&mut self) -> Result<Node, ExprError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.token.error(format!("nested deeper than {DEPTH_MAX} levels")));
        }
        let node = if self.keyword("not")? {
            Node::Not(Box::new(self.one()?))
        } else if self.token.kind == Kind::Open {
            let open = self.take()?;
            let node = self.any()?;
            if self.token.kind != Kind::Close {
                return Err(match self.token.kind {
                    Kind::End => open.error("this `(` is never closed"),
                    _ => self.token.error("`and`, `or` or `)` is missing before this"),
                });
            }
            self.take()?;
            node
        } else {
            self.test()?
        };
        self.depth -= 1;
        Ok(node)
    }

    fn test(&mut self) -> Result<Node, ExprError> {
        let first = self.token.clone();
        if let Kind::Word(word) = first.kind {
            let next = self.peek()?.kind;
            if next == Kind::Open && !is_keyword(word) {
                return self.function(word);
            }
            if word == "exists" && !is_comparison(&next) && next != Kind::Dot {
                return self.exists();
            }
        }
        let subject = self.subject()?;
        let (operator, negated) = self.operator(&first)?;
        let test = match operator {
            Operator::Equals => Test::Equals(self.literal_for(&subject)?),
            Operator::Stands(order) => self.order(order, &subject)?,
            Operator::Matches => Test::Matches(self.pattern()?),
            Operator::In => Test::In(self.list(&subject)?),
        };
        Ok(Node::Test { subject, test, negated })
    }

    /// Takes the operator behind the subject that begins with `first`; with it, whether it asks for the opposite.
    fn operator(&mut self, first: &Token<'_>) -> Result<(Operator, bool), ExprError> {
        let stands = |strict, or_equal| Operator::Stands(Order { strict, or_equal });
        let found = match self.token.kind {
            Kind::Equal => (Operator::Equals, false),
            Kind::Unequal => (Operator::Equals, true),
            Kind::Less => (stands(Ordering::Less, false), false),
            Kind::LessOrEqual => (stands(Ordering::Less, true), false),
            Kind::Greater => (stands(Ordering::Greater, false), false),
            Kind::GreaterOrEqual => (stands(Ordering::Greater, true), false),
            Kind::Matches => (Operator::Matches, false),
            Kind::MatchesNot => (Operator::Matches, true),
            Kind::Word("in") => (Operator::In, false),
            Kind::Word("not") if self.peek()?.kind == Kind::Word("in") => {
                self.take()?;
                (Operator::In, true)
            }
            _ => return Err(self.no_operator(first)),
        };
        self.take()?;
        Ok(found)
    }

    /// What is wrong where no operator follows the subject that begins with `first`.
    fn no_operator(&self, first: &Token<'_>) -> ExprError {
        let written = &self.text[first.start..];
        let end = self.token.start - first.start;
        let name = written[..end].trim_end();
        match self.token.kind {
            Kind::Word(word) if FUNCTIONS.contains(&word) => {
                return self.token.error(format!("`{word}` stands first: `{word}({name}, \"x\")`"));
            }
            Kind::Word(word @ ("like" | "matches" | "is" | "equals")) => {
                let hint = if matches!(word, "is" | "equals") { "==" } else { "=~" };
                return self.token.error(format!("unknown operator `{word}`: did you mean `{hint}`?"));
            }
            Kind::Word(word) if is_keyword(&word.to_ascii_lowercase()) && !is_keyword(word) => {
                return self
                    .token
                    .error(format!("keywords are in lower case: `{}`", word.to_ascii_lowercase()));
            }
            Kind::Number(text) if text.starts_with('-') && name.len() == end => {
                let whole = &written[..end + text.len()];
                let message = format!("a name with such letters stands in backticks: `{whole}`");
                return ExprError { message, start: first.start, len: whole.len() };
            }
            _ => {}
        }
        let message = format!(
            "`{name}` alone is no condition: compare it, as in `{name} == \"x\"`, or ask `exists {name}`"
        );
        ExprError { message, start: first.start, len: name.len() }
    }

    /// `exists` and what is asked for.
    fn exists(&mut self) -> Result<Node, ExprError> {
        self.take()?;
        let first = self.token.clone();
        let subject = self.subject()?;
        if subject.always_exists() {
            let name = &self.text[first.start..first.start + first.len];
            let message = format!("every entry has `{name}`; a field of that name is `fields.{name}`");
            return Err(first.error(message));
        }
        Ok(Node::Test { subject, test: Test::Exists, negated: false })
    }

    /// One of [`FUNCTIONS`], with its arguments.
    fn function(&mut self, name: &str) -> Result<Node, ExprError> {
        let word = self.take()?;
        if !FUNCTIONS.contains(&name) {
            let close = FUNCTIONS.iter().find(|known| strsim::jaro_winkler(name, known) >= 0.8);
            let hint = close.map(|known| format!("did you mean `{known}`? ")).unwrap_or_default();
            let known = FUNCTIONS.map(|name| format!("`{name}`")).join(", ");
            return Err(word.error(format!("unknown function `{name}`: {hint}there are {known}")));
        }
        self.take()?;
        let subject = self.subject()?;
        self.expect(&Kind::Comma, &format!("`{name}` takes two: `{name}(message, \"x\")`"))?;
        let place = self.token.clone();
        let text = self.text_literal(&format!("`{name}` looks for text"))?;
        if text.is_empty() {
            return Err(place.error("the empty text is in every text: ask for `exists` instead"));
        }
        self.expect(&Kind::Close, "`)` is missing before this")?;
        let test = match name {
            "contains" => Test::Contains(Finder::new(text.as_bytes()).into_owned()),
            "starts_with" => Test::StartsWith(text.into()),
            _ => Test::EndsWith(text.into()),
        };
        Ok(Node::Test { subject, test, negated: false })
    }

    /// What stands behind `<` and its kin: a number, or a text that is none.
    fn order(&mut self, order: Order, subject: &Subject) -> Result<Test, ExprError> {
        let place = self.token.clone();
        match self.literal_for(subject)? {
            Literal::Number(number) => Ok(Test::NumberIs(order, number)),
            Literal::Text(text) if !subject.is_text() && super::number::Number::parse(&text).is_some() => {
                Err(place.error(format!(
                    "texts are ordered letter by letter; numbers stand without quotes: {text}"
                )))
            }
            Literal::Text(text) => Ok(Test::TextIs(order, text)),
            Literal::Bool(_) | Literal::Null => Err(place.error("only numbers and texts have an order")),
        }
    }

    fn list(&mut self, subject: &Subject) -> Result<List, ExprError> {
        self.expect(&Kind::OpenList, "a list is expected here, as in `in [\"a\", \"b\"]`")?;
        let mut literals = Vec::new();
        loop {
            if self.token.kind == Kind::CloseList {
                let close = self.take()?;
                return match literals.is_empty() {
                    true => Err(close.error("nothing is in an empty list")),
                    false => Ok(List::new(literals)),
                };
            }
            literals.push(self.literal_for(subject)?);
            match self.token.kind {
                Kind::Comma => drop(self.take()?),
                Kind::CloseList => {}
                _ => return Err(self.token.error("`,` or `]` is missing before this")),
            }
        }
    }

    fn pattern(&mut self) -> Result<Regex, ExprError> {
        let place = self.token.clone();
        let text = self.text_literal("a pattern is text")?;
        super::pattern(&text).map_err(|message| place.error(message))
    }
}
