//! Tokens to a tree, by descent: one function per line of the grammar. What is computed: `values` and `functions`; what
//! is tested, and its literals: `tested`.

mod functions;
mod tested;
mod values;

use super::calc::{Ask, Calc};
use super::lexer::{self, Kind, Token};
use super::subject::Subject;
use super::test::{List, Order, Test};
use super::value::Literal;
use super::{DEPTH_MAX, ExprError, LEN_MAX, Node};
use regex::bytes::Regex;
use std::cmp::Ordering;

/// Words that join or begin conditions, and so are no names unless they stand behind `fields.` or in backticks.
const KEYWORDS: [&str; 5] = ["and", "or", "not", "in", "exists"];

struct Parser<'a> {
    text: &'a str,
    /// The next token.
    token: Token<'a>,
    depth: usize,
    /// How many operators that compute there were.
    operators: usize,
}

/// What was read: something that holds or not, or something that is.
enum Tree {
    Condition(Node),
    Value(Calc, Type),
}

/// What a value is known to be when it is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Any,
    Text,
    Number,
    Truth,
}

/// The left side of a comparison.
struct Left {
    calc: Calc,
    of: Type,
    /// It is known to be text, and so to be no number.
    is_text: bool,
}

/// The tree of the condition `text`.
pub fn parse(text: &str) -> Result<Node, ExprError> {
    let mut parser = Parser::new(text)?;
    let first = parser.token.clone();
    let tree = parser.any()?;
    let node = parser.condition(tree, &first)?;
    parser.end("`and` or `or` is missing before this")?;
    Ok(node)
}

/// The tree of the expression `text`, which gives a value.
pub fn parse_value(text: &str) -> Result<Calc, ExprError> {
    let mut parser = Parser::new(text)?;
    let first = parser.token.clone();
    let calc = match parser.any()? {
        Tree::Condition(node) => Calc::Truth(Box::new(node)),
        Tree::Value(calc, _) => calc,
    };
    if matches!(&parser.token.kind, Kind::Number(text) if text.starts_with('-')) {
        return Err(parser.no_operator(&first));
    }
    parser.end("an operator such as `+` is missing before this")?;
    Ok(calc)
}

/// `test` of a value: where that stands in the entry it is not worked out.
fn tested(calc: Calc, test: Test, negated: bool) -> Node {
    match calc {
        Calc::Subject(subject) => Node::Test { subject, test, negated },
        calc => Node::Made { tested: Box::new((calc, test)), negated },
    }
}

/// The subject that `text` is, and nothing behind it.
pub fn parse_subject(text: &str) -> Result<Subject, ExprError> {
    let mut parser = Parser::new(text)?;
    let subject = parser.subject()?;
    match parser.token.kind {
        Kind::End => Ok(subject),
        _ => Err(parser.token.error("one name is expected, as in `level` or `labels.app`")),
    }
}

fn is_text(calc: &Calc, of: Type) -> bool {
    match calc {
        Calc::Subject(subject) => subject.is_text(),
        _ => of == Type::Text,
    }
}

impl Parser<'_> {
    /// What must be all: otherwise, what is `missing`.
    fn end(&self, missing: &str) -> Result<(), ExprError> {
        Err(match &self.token.kind {
            Kind::End => return Ok(()),
            Kind::Close => self.token.error("this `)` closes nothing"),
            kind if is_comparison(kind) => self.token.error("one comparison at a time: join them with `and`"),
            Kind::Word(word) if is_keyword(&word.to_ascii_lowercase()) => {
                self.token.error(format!("keywords are in lower case: `{}`", word.to_ascii_lowercase()))
            }
            _ => self.token.error(missing),
        })
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
    fn new(text: &'a str) -> Result<Self, ExprError> {
        if text.len() > LEN_MAX {
            let message = format!("an expression may have {LEN_MAX} bytes, this one has {}", text.len());
            let start = text.floor_char_boundary(LEN_MAX);
            return Err(ExprError { message, start, len: text.len() - start });
        }
        Ok(Parser { text, token: lexer::next(text, 0)?, depth: 0, operators: 0 })
    }

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

    /// What stands between "or"s.
    fn any(&mut self) -> Result<Tree, ExprError> {
        let first = self.token.clone();
        let tree = self.all()?;
        if self.token.kind != Kind::Word("or") {
            return Ok(tree);
        }
        let mut nodes = vec![self.condition(tree, &first)?];
        while self.keyword("or")? {
            let first = self.token.clone();
            let tree = self.all()?;
            nodes.push(self.condition(tree, &first)?);
        }
        Ok(Tree::Condition(Node::Any(nodes.into())))
    }

    fn all(&mut self) -> Result<Tree, ExprError> {
        let first = self.token.clone();
        let tree = self.one()?;
        if self.token.kind != Kind::Word("and") {
            return Ok(tree);
        }
        let mut nodes = vec![self.condition(tree, &first)?];
        while self.keyword("and")? {
            let first = self.token.clone();
            let tree = self.one()?;
            nodes.push(self.condition(tree, &first)?);
        }
        Ok(Tree::Condition(Node::All(nodes.into())))
    }

    fn one(&mut self) -> Result<Tree, ExprError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.token.error(format!("nested deeper than {DEPTH_MAX} levels")));
        }
        let tree = if self.keyword("not")? {
            let first = self.token.clone();
            let tree = self.one()?;
            Tree::Condition(Node::Not(Box::new(self.condition(tree, &first)?)))
        } else {
            self.test()?
        };
        self.depth -= 1;
        Ok(tree)
    }

    /// The tree that begins with `first`, which must be a condition.
    fn condition(&self, tree: Tree, first: &Token<'_>) -> Result<Node, ExprError> {
        match tree {
            Tree::Condition(node) => Ok(node),
            Tree::Value(calc, Type::Truth) => Ok(Node::Truth(calc)),
            Tree::Value(..) => Err(self.no_operator(first)),
        }
    }

    fn test(&mut self) -> Result<Tree, ExprError> {
        let first = self.token.clone();
        let left = self.sum()?;
        let Tree::Value(calc, of) = left else { return Ok(left) };
        let Some((operator, negated)) = self.operator()? else { return Ok(Tree::Value(calc, of)) };
        if matches!(first.kind, Kind::Text(_) | Kind::Number(_) | Kind::Word("true" | "false" | "null"))
            && matches!(calc, Calc::Text(_) | Calc::Number(_) | Calc::Bool(_) | Calc::Null)
        {
            return Err(first.error("a comparison begins with a field, as in `level == \"error\"`"));
        }
        let left = Left { is_text: is_text(&calc, of), calc, of };
        let test = match operator {
            Operator::Equals if self.is_worked_out()? => return self.compare(left, Ask::Equal, negated),
            Operator::Stands(order) if self.is_worked_out()? => {
                return self.compare(left, Ask::Stands(order), negated);
            }
            Operator::Equals => Test::Equals(self.literal_for(&left)?),
            Operator::Stands(order) => self.order(order, &left)?,
            Operator::Matches => Test::Matches(self.pattern()?),
            Operator::In => Test::In(self.list(&left)?),
        };
        Ok(Tree::Condition(tested(left.calc, test, negated)))
    }

    /// A comparison with what is worked out on its right.
    fn compare(&mut self, left: Left, ask: Ask, negated: bool) -> Result<Tree, ExprError> {
        let first = self.token.clone();
        let right = self.sum()?;
        let (right, of) = self.value(right, &first)?;
        if matches!(ask, Ask::Stands(_)) && (left.of == Type::Truth || of == Type::Truth) {
            return Err(first.error("only numbers and texts have an order"));
        }
        let sides = Box::new([left.calc, right]);
        Ok(Tree::Condition(Node::Compare { sides, ask, negated }))
    }

    /// Takes the operator that compares, if one is next; with it, whether it asks for the opposite.
    fn operator(&mut self) -> Result<Option<(Operator, bool)>, ExprError> {
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
            _ => return Ok(None),
        };
        self.take()?;
        Ok(Some(found))
    }

    /// What is wrong where no operator follows the subject that begins with `first`.
    fn no_operator(&self, first: &Token<'_>) -> ExprError {
        let written = &self.text[first.start..];
        let end = self.token.start - first.start;
        let name = written[..end].trim_end();
        match self.token.kind {
            Kind::Word(word @ ("contains" | "starts_with" | "ends_with")) => {
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
                let message = format!(
                    "a name with such letters stands in backticks: `{whole}`; to subtract, put spaces around the `-`"
                );
                return ExprError { message, start: first.start, len: whole.len() };
            }
            _ => {}
        }
        if matches!(first.kind, Kind::Text(_) | Kind::Number(_) | Kind::Word("true" | "false" | "null")) {
            return first.error("a comparison begins with a field, as in `level == \"error\"`");
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

    /// What stands behind `<` and its kin: a number, or a text that is none.
    fn order(&mut self, order: Order, left: &Left) -> Result<Test, ExprError> {
        let place = self.token.clone();
        match self.literal_for(left)? {
            Literal::Number(number) => Ok(Test::NumberIs(order, number)),
            Literal::Text(text) if !left.is_text && super::number::Number::parse(&text).is_some() => {
                Err(place.error(format!(
                    "texts are ordered letter by letter; numbers stand without quotes: {text}"
                )))
            }
            Literal::Text(text) => Ok(Test::TextIs(order, text)),
            Literal::Bool(_) | Literal::Null => Err(place.error("only numbers and texts have an order")),
        }
    }

    fn list(&mut self, left: &Left) -> Result<List, ExprError> {
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
            literals.push(self.literal_for(left)?);
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
