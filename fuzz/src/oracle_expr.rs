//! Conditions by a plain walk over a tree, and a maker of random ones with entries to judge.
//!
//! Everything is made of bytes given from outside, so that a fuzzer and a property test can both drive it.

use serde_json::{Map, Value};
use std::cmp::Ordering;

/// The stream every entry is of: its source, and its labels.
pub const SOURCE: &str = "edge";
pub const LABELS: [(&str, &str); 2] = [("app", "shop"), ("weird-key", "1")];

/// A condition.
#[derive(Clone, Debug)]
pub enum Cond {
    Any(Vec<Cond>),
    All(Vec<Cond>),
    Not(Box<Cond>),
    Test(Subject, Ask),
}

#[derive(Clone, Debug)]
pub enum Subject {
    Field(Vec<Part>),
    Label(&'static str),
    Source,
    Message,
}

#[derive(Clone, Debug)]
pub enum Part {
    Name(&'static str),
    Item(usize),
}

#[derive(Clone, Debug)]
pub enum Ask {
    Exists,
    Equals(bool, Literal),
    In(bool, Vec<Literal>),
    /// The operator's sign.
    Order(&'static str, Literal),
    /// One of [`PATTERNS`].
    Pattern(bool, usize),
    /// The function's name.
    Function(&'static str, &'static str),
}

#[derive(Clone, Debug)]
pub enum Literal {
    Text(&'static str),
    /// A number as mantissa and power of ten.
    Number(i64, i32),
    Bool(bool),
    Null,
}

/// An entry: a JSON object, and how it is written.
#[derive(Clone, Debug)]
pub struct Entry {
    pub object: Map<String, Value>,
    pub line: String,
    /// Whether each `x` in it is written as an escape.
    escaped: bool,
}

const NAMES: [&str; 6] = ["a", "b", "c", "message", "in", "x-y"];
pub const TEXTS: [&str; 10] = ["", "a", "x", "shop", "axa", "1", "é\"\\", "true", "zzz x", "\u{1F600}"];
pub const NUMBERS: [(i64, i32); 9] = [
    (0, 0),
    (1, 0),
    (-1, 0),
    (15, -1),
    (9_007_199_254_740_993, 0),
    (9_007_199_254_740_992, 0),
    (i64::MAX, 0),
    (1, 3),
    (-250, -2),
];
/// Patterns, each with what it means in plain words.
const PATTERNS: [(&str, fn(&str) -> bool); 6] = [
    ("^a", |text| text.starts_with('a')),
    ("x$", |text| text.ends_with('x')),
    ("[xz]", |text| text.contains(['x', 'z'])),
    ("^\\w*$", |text| text.chars().all(|letter| letter.is_alphanumeric() || letter == '_')),
    ("(?i)SHOP", |text| text.to_lowercase().contains("shop")),
    ("^.$", |text| text.chars().count() == 1 && text != "\n"),
];

/// Makes choices out of bytes; out of bytes, it always takes the first.
pub struct Choices<'a>(pub &'a [u8]);

impl Choices<'_> {
    /// A number below `count`.
    pub fn below(&mut self, count: usize) -> usize {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(*first) % count
    }

    /// Heads or tails.
    pub fn yes(&mut self) -> bool {
        self.below(2) == 1
    }

    /// One of these.
    pub fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// A condition at most `depth` levels deep.
    pub fn cond(&mut self, depth: usize) -> Cond {
        match self.below(if depth == 0 { 3 } else { 6 }) {
            0..=2 => self.test(),
            3 => Cond::Any((0..=self.below(3)).map(|_| self.cond(depth - 1)).collect()),
            4 => Cond::All((0..=self.below(3)).map(|_| self.cond(depth - 1)).collect()),
            _ => Cond::Not(Box::new(self.cond(depth - 1))),
        }
    }

    /// Something that an entry may have.
    pub fn subject(&mut self) -> Subject {
        match self.below(8) {
            0 => Subject::Label(self.one(&["app", "none", "weird-key"])),
            1 => Subject::Source,
            2 => Subject::Message,
            _ => {
                let mut parts = vec![Part::Name(self.one(&NAMES))];
                while parts.len() < 4 && self.below(3) == 1 {
                    parts.push(if self.yes() {
                        Part::Item(self.below(3))
                    } else {
                        Part::Name(self.one(&NAMES))
                    });
                }
                Subject::Field(parts)
            }
        }
    }

    fn test(&mut self) -> Cond {
        let subject = self.subject();
        let is_field = matches!(subject, Subject::Field(_));
        let ask = match self.below(6) {
            0 if !matches!(subject, Subject::Source | Subject::Message) => Ask::Exists,
            1 => Ask::In(self.yes(), (0..=self.below(7)).map(|_| self.literal(is_field)).collect()),
            2 => Ask::Order(self.one(&["<", "<=", ">", ">="]), self.ordered(is_field)),
            3 => Ask::Pattern(self.yes(), self.below(PATTERNS.len())),
            4 => Ask::Function(self.one(&["contains", "starts_with", "ends_with"]), self.one(&TEXTS[1..])),
            _ => Ask::Equals(self.yes(), self.literal(is_field)),
        };
        Cond::Test(subject, ask)
    }

    /// A literal; text alone, if it is for what is known to be text.
    pub fn literal(&mut self, is_field: bool) -> Literal {
        match self.below(if is_field { 5 } else { 2 }) {
            0 | 1 => Literal::Text(self.one(&TEXTS)),
            2 => self.number(),
            3 => Literal::Bool(self.yes()),
            _ => Literal::Null,
        }
    }

    /// A literal that has an order; no text that is a number.
    fn ordered(&mut self, is_field: bool) -> Literal {
        match is_field && self.yes() {
            true => self.number(),
            false => Literal::Text(self.one(&["", "a", "shop", "é\"\\", "zzz x"])),
        }
    }

    fn number(&mut self) -> Literal {
        let (mantissa, power) = self.one(&NUMBERS);
        Literal::Number(mantissa, power)
    }

    /// An entry of up to five members.
    pub fn entry(&mut self) -> Entry {
        let object: Map<_, _> =
            (0..self.below(6)).map(|_| (self.one(&NAMES).to_owned(), self.value(3))).collect();
        let mut entry = Entry { line: String::new(), escaped: self.yes(), object };
        entry.line = entry.written(Value::Object(entry.object.clone()).to_string());
        entry
    }

    fn value(&mut self, depth: usize) -> Value {
        match self.below(if depth == 0 { 5 } else { 8 }) {
            0 | 1 => Value::from(self.one(&TEXTS)),
            2 => {
                // Only those that are written as they are read: whole ones, and one and a half.
                let (mantissa, power) = self.one(&NUMBERS);
                if power == -1 { Value::from(1.5) } else { Value::from(mantissa) }
            }
            3 => Value::from(self.yes()),
            4 => Value::Null,
            5 => (0..self.below(4)).map(|_| self.value(depth - 1)).collect(),
            _ => {
                let members =
                    (0..self.below(4)).map(|_| (self.one(&NAMES).to_owned(), self.value(depth - 1)));
                Value::Object(members.collect())
            }
        }
    }
}

impl Entry {
    /// JSON as this entry writes it.
    fn written(&self, json: String) -> String {
        if self.escaped { json.replace('x', "\\u0078") } else { json }
    }
}

impl Cond {
    /// As it is written, in parentheses where it binds less than `level`.
    pub fn show(&self, level: u8) -> String {
        let joined = |nodes: &[Cond], word: &str, level| {
            nodes.iter().map(|node| node.show(level)).collect::<Vec<_>>().join(word)
        };
        let (own, text) = match self {
            Cond::Any(nodes) => (0, joined(nodes, " or ", 1)),
            Cond::All(nodes) => (1, joined(nodes, " and ", 2)),
            Cond::Not(node) => (2, format!("not {}", node.show(2))),
            Cond::Test(subject, ask) => (2, ask.show(&subject.show())),
        };
        if own < level { format!("({text})") } else { text }
    }

    /// Whether the entry meets it.
    pub fn holds(&self, entry: &Entry) -> bool {
        match self {
            Cond::Any(nodes) => nodes.iter().filter(|node| node.holds(entry)).count() > 0,
            Cond::All(nodes) => nodes.iter().filter(|node| !node.holds(entry)).count() == 0,
            Cond::Not(node) => !node.holds(entry),
            Cond::Test(subject, ask) => ask.holds(subject.find(entry).as_ref(), entry),
        }
    }
}

impl Subject {
    /// As it is written.
    pub fn show(&self) -> String {
        match self {
            Subject::Label(name) => format!("labels.{}", quoted_name(name)),
            Subject::Source => "source".into(),
            Subject::Message => "message".into(),
            Subject::Field(parts) => {
                let part = |part: &Part| match part {
                    Part::Name(name) => format!(".{}", quoted_name(name)),
                    Part::Item(index) => format!("[{index}]"),
                };
                format!("fields{}", parts.iter().map(part).collect::<String>())
            }
        }
    }

    /// What the entry has of it.
    pub fn find(&self, entry: &Entry) -> Option<Value> {
        match self {
            Subject::Source => Some(SOURCE.into()),
            Subject::Label(name) => {
                LABELS.iter().find(|(known, _)| known == name).map(|(_, value)| (*value).into())
            }
            Subject::Message => {
                Some(entry.object.get("message").cloned().unwrap_or_else(|| entry.line.clone().into()))
            }
            Subject::Field(parts) => {
                let mut at = Value::Object(entry.object.clone());
                for part in parts {
                    at = match part {
                        Part::Name(name) => at.as_object()?.get(*name)?.clone(),
                        Part::Item(index) => at.as_array()?.get(*index)?.clone(),
                    };
                }
                Some(at)
            }
        }
    }
}

fn quoted_name(name: &str) -> String {
    if name.contains('-') { format!("`{name}`") } else { name.into() }
}

impl Ask {
    fn show(&self, subject: &str) -> String {
        let not = |yes: &bool| if *yes { "" } else { "not " };
        match self {
            Ask::Exists => format!("exists {subject}"),
            Ask::Equals(yes, literal) => {
                format!("{subject} {} {}", if *yes { "==" } else { "!=" }, literal.show())
            }
            Ask::In(yes, all) => {
                let all: Vec<String> = all.iter().map(Literal::show).collect();
                format!("{subject} {}in [{}]", not(yes), all.join(", "))
            }
            Ask::Order(sign, literal) => format!("{subject} {sign} {}", literal.show()),
            Ask::Pattern(yes, which) => {
                format!(
                    "{subject} {} {}",
                    if *yes { "=~" } else { "!~" },
                    Literal::Text(PATTERNS[*which].0).show()
                )
            }
            Ask::Function(name, text) => format!("{name}({subject}, {})", Literal::Text(text).show()),
        }
    }

    fn holds(&self, value: Option<&Value>, entry: &Entry) -> bool {
        let negated = matches!(self, Ask::Equals(false, _) | Ask::In(false, _) | Ask::Pattern(false, _));
        let Some(value) = value else { return negated };
        let reads = reads(value, entry);
        let holds = match self {
            Ask::Exists => true,
            Ask::Equals(_, literal) => literal.equals(value, entry),
            Ask::In(_, all) => all.iter().any(|literal| literal.equals(value, entry)),
            Ask::Order(sign, literal) => {
                let stands = match (literal, value) {
                    (Literal::Text(text), Value::String(own)) => Some(own.as_str().cmp(text)),
                    (Literal::Number(mantissa, power), value) => {
                        number(value).map(|own| own.cmp(&scaled(*mantissa, *power)))
                    }
                    _ => None,
                };
                stands.is_some_and(|stands| match *sign {
                    "<" => stands == Ordering::Less,
                    "<=" => stands != Ordering::Greater,
                    ">" => stands == Ordering::Greater,
                    _ => stands != Ordering::Less,
                })
            }
            Ask::Pattern(_, which) => PATTERNS[*which].1(&reads),
            Ask::Function("contains", text) => reads.contains(text),
            Ask::Function("starts_with", text) => reads.starts_with(text),
            Ask::Function(_, text) => reads.ends_with(text),
        };
        holds != negated
    }
}

impl Literal {
    /// As it is written.
    pub fn show(&self) -> String {
        match self {
            Literal::Text(text) => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
            Literal::Number(mantissa, 0) => mantissa.to_string(),
            Literal::Number(mantissa, power) => format!("{mantissa}e{power}"),
            Literal::Bool(truth) => truth.to_string(),
            Literal::Null => "null".into(),
        }
    }

    fn equals(&self, value: &Value, entry: &Entry) -> bool {
        match self {
            Literal::Text(text) => reads(value, entry) == *text,
            Literal::Number(mantissa, power) => number(value) == Some(scaled(*mantissa, *power)),
            Literal::Bool(truth) => *value == Value::Bool(*truth),
            Literal::Null => value.is_null(),
        }
    }
}

/// What a value reads as: text as it is, everything else as it is written.
pub fn reads(value: &Value, entry: &Entry) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(_) | Value::Object(_) => entry.written(value.to_string()),
        other => other.to_string(),
    }
}

/// The value of a number, or of text that is one, in hundred-thousandths: exactly.
fn number(value: &Value) -> Option<i128> {
    let written = match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        _ => return None,
    };
    match written.split_once('.') {
        Some((whole, tenths)) => {
            Some(scaled(format!("{whole}{tenths}").parse().ok()?, -(tenths.len() as i32)))
        }
        None => Some(scaled(written.parse().ok()?, 0)),
    }
}

fn scaled(mantissa: i64, power: i32) -> i128 {
    i128::from(mantissa) * 10_i128.pow((power + 5) as u32)
}
