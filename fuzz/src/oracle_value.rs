//! Values by a plain walk over a tree, one function after the other as its manual says, and a maker of random ones.
//!
//! Needs `oracle_expr` beside it, for conditions and entries.

use super::oracle_expr::{Choices, Cond, Entry, Literal, NUMBERS, Subject, TEXTS, reads};
use serde_json::Value;

/// An expression that gives a value.
#[derive(Clone, Debug)]
pub enum Calc {
    Literal(Literal),
    Of(Subject),
    Truth(Box<Cond>),
    /// The operator's sign.
    Sum(&'static str, Box<[Calc; 2]>),
    If(Box<Cond>, Box<[Calc; 2]>),
    /// A function of values alone.
    Call(&'static str, Vec<Calc>),
    /// A function of one text, and what stands behind it as it is written.
    Text(&'static str, &'static str, Box<Calc>),
}

/// What a value is known to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    Any,
    Text,
    Number,
}

/// A value that was worked out.
#[derive(Clone, Debug, PartialEq)]
pub enum Val {
    Null,
    Bool(bool),
    Whole(i64),
    Real(f64),
    /// A number as the entry writes it.
    Written(String),
    Text(String),
    Json(String),
}

/// It cannot be worked out.
#[derive(Debug, PartialEq)]
pub struct Fault;

type Found = Result<Option<Val>, Fault>;

const OF_NUMBER: [&str; 8] =
    ["abs", "ceil", "floor", "int", "round", "to_seconds", "from_millis", "from_seconds"];
/// Functions of one text that give text, with what is written behind it.
const TO_TEXT: [(&str, &str); 15] = [
    ("text", ""),
    ("lower", ""),
    ("upper", ""),
    ("trim", ""),
    ("fnv64", ""),
    ("part", ", \"a\", 0"),
    ("part", ", \"a\", 1"),
    ("part", ", \"x\", -1"),
    ("part", ", \"aa\", -2"),
    ("replace", ", \"a\", \"xx\""),
    ("replace", ", \"x\", \"\""),
    ("replace_pattern", ", \"[ax]+\", \"-\""),
    ("extract", ", \"h(o)p\""),
    ("extract", ", \"[a-z]\""),
    ("ip_mask", ", 8"),
];

impl Choices<'_> {
    /// A value at most `depth` levels deep that can be `of`.
    pub fn calc(&mut self, depth: usize, of: Type) -> Calc {
        if depth == 0 {
            return self.leaf(of);
        }
        let below = depth - 1;
        let which = self.below(12);
        match (which, of) {
            (0..=2, of) => self.leaf(of),
            (3, of) => {
                Calc::If(Box::new(self.cond(1)), Box::new([self.calc(below, of), self.calc(below, of)]))
            }
            (4, of) => Calc::Call("coalesce", self.list(below, of)),
            (5 | 6, Type::Number) => {
                let sign = self.one(&["-", "*", "/", "%"]);
                Calc::Sum(sign, Box::new([self.calc(below, Type::Number), self.calc(below, Type::Number)]))
            }
            (7, Type::Number) => Calc::Call(self.one(&["min", "max"]), self.list(below, Type::Number)),
            (8 | 9, Type::Number) => Calc::Call(self.one(&OF_NUMBER), vec![self.calc(below, Type::Number)]),
            (_, Type::Number) => Calc::Text(
                self.one(&["length", "number", "crc32c", "ip_version"]),
                "",
                Box::new(self.calc(below, Type::Text)),
            ),
            (5, Type::Text) => Calc::Call("concat", self.list(below, Type::Text)),
            (6, Type::Text) => {
                let mut of = vec![self.calc(below, Type::Text), self.calc(0, Type::Number)];
                if self.yes() {
                    of.push(self.calc(0, Type::Number));
                }
                Calc::Call("substr", of)
            }
            (7, Type::Text) => Calc::Sum("+", Box::new([self.calc(below, Type::Text), self.summand(below)])),
            (_, Type::Text) => {
                let (name, rest) = self.one(&TO_TEXT);
                Calc::Text(name, rest, Box::new(self.calc(below, Type::Text)))
            }
            (5, Type::Any) => Calc::Sum("+", Box::new([self.summand(below), self.summand(below)])),
            (6, Type::Any) => Calc::Truth(Box::new(self.cond(1))),
            (7, Type::Any) => {
                let name = self.one(&[
                    "is_text",
                    "is_number",
                    "is_bool",
                    "is_null",
                    "is_object",
                    "is_list",
                    "is_ip",
                ]);
                Calc::Call(name, vec![self.calc(below, Type::Any)])
            }
            (8 | 9, Type::Any) => self.calc(depth, Type::Number),
            (_, Type::Any) => self.calc(depth, Type::Text),
        }
    }

    /// Something that can be added: no condition.
    fn summand(&mut self, depth: usize) -> Calc {
        match self.below(3) {
            0 => self.leaf(Type::Any),
            1 => self.calc(depth, Type::Number),
            _ => self.calc(depth, Type::Text),
        }
    }

    fn list(&mut self, depth: usize, of: Type) -> Vec<Calc> {
        (0..=self.below(3)).map(|_| self.calc(depth, of)).collect()
    }

    fn leaf(&mut self, of: Type) -> Calc {
        match (self.below(4), of) {
            (0, Type::Text) => Calc::Literal(Literal::Text(self.one(&TEXTS))),
            (0, Type::Number) => {
                let (mantissa, power) = self.one(&NUMBERS);
                Calc::Literal(Literal::Number(mantissa, power))
            }
            (0, Type::Any) => Calc::Literal(self.literal(true)),
            (1, Type::Text) => {
                Calc::Literal(Literal::Text(self.one(&["10.1.2.3", "::ffff:10.1.2.3", "2001:db8::1"])))
            }
            _ => Calc::Of(self.subject()),
        }
    }
}

impl Calc {
    /// As it is written; in parentheses where it is a sum.
    pub fn show(&self) -> String {
        match self {
            Calc::Literal(literal) => literal.show(),
            Calc::Of(subject) => subject.show(),
            Calc::Truth(cond) => format!("({})", cond.show(0)),
            Calc::Sum(sign, sides) => format!("({} {sign} {})", sides[0].show(), sides[1].show()),
            Calc::If(cond, ways) => format!("if({}, {}, {})", cond.show(0), ways[0].show(), ways[1].show()),
            Calc::Call(name, all) => {
                format!("{name}({})", all.iter().map(Calc::show).collect::<Vec<_>>().join(", "))
            }
            Calc::Text(name, rest, of) => format!("{name}({}{rest})", of.show()),
        }
    }

    /// What it comes to.
    pub fn find(&self, entry: &Entry) -> Found {
        let there = |calc: &Calc| calc.find(entry);
        Ok(Some(match self {
            Calc::Literal(Literal::Text(text)) => Val::Text((*text).into()),
            Calc::Literal(literal @ Literal::Number(..)) => number(&literal.show()).ok_or(Fault)?,
            Calc::Literal(Literal::Bool(truth)) => Val::Bool(*truth),
            Calc::Literal(Literal::Null) => Val::Null,
            Calc::Of(subject) => match subject.find(entry) {
                Some(value) => of_json(&value, entry),
                None => return Ok(None),
            },
            Calc::Truth(cond) => Val::Bool(cond.holds(entry)),
            Calc::If(cond, ways) => return ways[usize::from(!cond.holds(entry))].find(entry),
            Calc::Sum(sign, sides) => {
                let Some(one) = there(&sides[0])? else { return Ok(None) };
                let Some(other) = there(&sides[1])? else { return Ok(None) };
                if *sign == "+" && (matches!(one, Val::Text(_)) || matches!(other, Val::Text(_))) {
                    return Ok(Some(Val::Text(one.text() + &other.text())));
                }
                compute(sign, one.number()?, other.number()?)?
            }
            Calc::Call("coalesce", all) => {
                let mut found = all.iter().map(there).filter_map(|found| found.ok().flatten());
                return Ok(found.find(|value| *value != Val::Null));
            }
            Calc::Call(name, all) => {
                if name.starts_with("is_") {
                    return Ok(Some(Val::Bool(there(&all[0])?.is_some_and(|value| value.is(name)))));
                }
                let mut given = Vec::new();
                for calc in all {
                    let Some(value) = there(calc)? else { return Ok(None) };
                    if matches!(*name, "min" | "max") || OF_NUMBER.contains(name) {
                        value.number()?;
                    }
                    given.push(value);
                    if *name == "substr" && given.len() > 1 {
                        let Val::Whole(_) = given[given.len() - 1].number()? else { return Err(Fault) };
                    }
                }
                call(name, &given)?
            }
            Calc::Text(name, rest, of) => {
                let Some(value) = there(of)? else { return Ok(None) };
                return of_text(name, rest, &value.text());
            }
        }))
    }
}

fn of_json(value: &Value, entry: &Entry) -> Val {
    match value {
        Value::Null => Val::Null,
        Value::Bool(truth) => Val::Bool(*truth),
        Value::Number(number) => Val::Written(number.to_string()),
        Value::String(text) => Val::Text(text.clone()),
        _ => Val::Json(reads(value, entry)),
    }
}

/// The number that `text` writes as JSON does.
fn number(text: &str) -> Option<Val> {
    serde_json::from_str::<Value>(text).ok().filter(Value::is_number)?;
    // What serde_json takes with space around it is no number here.
    if text.trim() != text {
        return None;
    }
    text.parse().map(Val::Whole).ok().or_else(|| real(text.parse().ok()?).ok())
}

fn real(value: f64) -> Result<Val, Fault> {
    match value {
        value if !value.is_finite() => Err(Fault),
        value if value.fract() == 0.0 && value.abs() < 9_007_199_254_740_992.0 => {
            Ok(Val::Whole(value as i64))
        }
        value => Ok(Val::Real(value)),
    }
}

fn double(value: &Val) -> f64 {
    match value {
        Val::Whole(whole) => *whole as f64,
        Val::Real(real) => *real,
        other => panic!("{other:?} is no number"),
    }
}

fn compute(sign: &str, one: Val, other: Val) -> Result<Val, Fault> {
    if let (Val::Whole(one), Val::Whole(other)) = (&one, &other) {
        let (one, other) = (i128::from(*one), i128::from(*other));
        let whole = match sign {
            "+" => one + other,
            "-" => one - other,
            "*" => one * other,
            _ if other == 0 => return Err(Fault),
            "/" if one % other != 0 => return real(one as f64 / other as f64),
            "/" => one / other,
            _ => one % other,
        };
        return i64::try_from(whole).map(Val::Whole).map_err(|_| Fault);
    }
    let (one, other) = (double(&one), double(&other));
    real(match sign {
        "+" => one + other,
        "-" => one - other,
        "*" => one * other,
        _ if other == 0.0 => return Err(Fault),
        "/" => one / other,
        _ => one % other,
    })
}

impl Val {
    /// What it reads as.
    pub fn text(&self) -> String {
        match self {
            Val::Null => "null".into(),
            Val::Bool(truth) => truth.to_string(),
            Val::Whole(whole) => whole.to_string(),
            Val::Real(real) => format!("{real:?}"),
            Val::Written(text) | Val::Text(text) | Val::Json(text) => text.clone(),
        }
    }

    fn number(&self) -> Result<Val, Fault> {
        match self {
            Val::Whole(_) | Val::Real(_) => Ok(self.clone()),
            Val::Written(text) | Val::Text(text) => number(text).ok_or(Fault),
            Val::Null | Val::Bool(_) | Val::Json(_) => Err(Fault),
        }
    }

    fn is(&self, name: &str) -> bool {
        match (name, self) {
            ("is_text", Val::Text(_)) | ("is_bool", Val::Bool(_)) | ("is_null", Val::Null) => true,
            ("is_number", Val::Whole(_) | Val::Real(_) | Val::Written(_)) => true,
            ("is_object", Val::Json(text)) => text.starts_with('{'),
            ("is_list", Val::Json(text)) => text.starts_with('['),
            ("is_ip", Val::Text(text)) => text.parse::<std::net::IpAddr>().is_ok(),
            _ => false,
        }
    }
}

fn call(name: &str, given: &[Val]) -> Result<Val, Fault> {
    let numbers = || given.iter().map(|value| value.number().expect("looked at before"));
    let one = || numbers().next().expect("one");
    let rounded = |round: fn(f64) -> f64| match one() {
        Val::Real(value) => real(round(value)),
        whole => Ok(whole),
    };
    match name {
        "concat" => Ok(Val::Text(given.iter().map(Val::text).collect())),
        "min" => {
            Ok(numbers().reduce(|one, other| if less(&other, &one) { other } else { one }).expect("one"))
        }
        "max" => {
            Ok(numbers().reduce(|one, other| if less(&one, &other) { other } else { one }).expect("one"))
        }
        "abs" => match one() {
            Val::Whole(whole) => whole.checked_abs().map(Val::Whole).ok_or(Fault),
            other => real(double(&other).abs()),
        },
        "ceil" => rounded(f64::ceil),
        "floor" => rounded(f64::floor),
        "int" => rounded(f64::trunc),
        "round" => rounded(f64::round),
        "to_seconds" => compute("/", one(), Val::Whole(1_000_000_000)),
        "from_millis" | "from_seconds" => {
            let unit = if name == "from_millis" { 1_000_000 } else { 1_000_000_000 };
            match compute("*", one(), Val::Whole(unit))? {
                Val::Real(value) => real(value.round()),
                whole => Ok(whole),
            }
        }
        "substr" => {
            let letters: Vec<char> = given[0].text().chars().collect();
            let whole = |at: usize| match given.get(at).map(|value| value.number().expect("looked at before"))
            {
                Some(Val::Whole(whole)) => Some(i128::from(whole)),
                _ => None,
            };
            let count = letters.len() as i128;
            let from = whole(1).expect("a whole number");
            let from = if from < 0 { (count + from).max(0) } else { from.min(count) };
            let to = whole(2).map_or(count, |len| (from + len.max(0)).min(count));
            Ok(Val::Text(letters[from as usize..to as usize].iter().collect()))
        }
        other => panic!("no function {other}"),
    }
}

fn less(one: &Val, other: &Val) -> bool {
    match (one, other) {
        (Val::Whole(one), Val::Whole(other)) => one < other,
        (one, other) => double(one) < double(other),
    }
}

fn of_text(name: &str, rest: &str, text: &str) -> Found {
    let arguments: Vec<String> =
        rest.split(", ").skip(1).map(|argument| argument.trim_matches('"').to_owned()).collect();
    let ip = || text.parse::<std::net::IpAddr>().map(|address| address.to_canonical()).map_err(|_| Fault);
    let said = |text: String| Ok(Some(Val::Text(text)));
    match name {
        "text" => said(text.into()),
        "lower" => said(text.chars().flat_map(char::to_lowercase).collect()),
        "upper" => said(text.chars().flat_map(char::to_uppercase).collect()),
        "trim" => said(text.trim_matches([' ', '\t', '\n', '\r', '\x0c']).into()),
        "length" => Ok(Some(Val::Whole(text.chars().count() as i64))),
        "number" => number(text).map(Some).ok_or(Fault),
        "crc32c" => {
            // Bit by bit, as its polynomial says.
            let mut sum = u32::MAX;
            for byte in text.bytes() {
                sum ^= u32::from(byte);
                for _ in 0..8 {
                    sum = if sum & 1 == 1 { sum >> 1 ^ 0x82F6_3B78 } else { sum >> 1 };
                }
            }
            Ok(Some(Val::Whole((!sum).into())))
        }
        "fnv64" => {
            let mut hash: u128 = 0xcbf2_9ce4_8422_2325;
            for byte in text.bytes() {
                hash = (hash ^ u128::from(byte)) * 0x100_0000_01b3 % (1 << 64);
            }
            said(format!("{hash:016x}"))
        }
        "part" => {
            let parts: Vec<&str> = text.split(&arguments[0]).collect();
            let place: i64 = arguments[1].parse().expect("a number");
            let place = if place < 0 { parts.len() as i64 + place } else { place };
            Ok(usize::try_from(place).ok().and_then(|at| parts.get(at)).map(|part| Val::Text((*part).into())))
        }
        "replace" => said(text.replace(&arguments[0], &arguments[1])),
        "replace_pattern" => {
            let mut out = String::new();
            for letter in text.chars() {
                let found = matches!(letter, 'a' | 'x');
                if !found {
                    out.push(letter);
                } else if !out.ends_with('\u{1}') {
                    out.push('\u{1}');
                }
            }
            said(out.replace('\u{1}', "-"))
        }
        "extract" if arguments[0] == "h(o)p" => Ok(text.contains("hop").then(|| Val::Text("o".into()))),
        "extract" => Ok(text.chars().find(char::is_ascii_lowercase).map(|letter| Val::Text(letter.into()))),
        "ip_version" => ip().map(|ip| Some(Val::Whole(if ip.is_ipv4() { 4 } else { 6 }))),
        "ip_mask" => match ip()? {
            std::net::IpAddr::V4(four) => said(format!("{}.0.0.0", four.octets()[0])),
            six => said(six.to_string()),
        },
        other => panic!("no function {other}"),
    }
}
