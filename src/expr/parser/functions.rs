//! Functions: their names, what they take, and what they become.

mod texts;

use super::super::calc::{ARGUMENTS_MAX, Calc, OfNumber, OfText, Shape};
use super::super::lexer::{Kind, Token};
use super::super::test::Test;
use super::super::{ExprError, Node};
use super::{Parser, Tree, Type, tested};
use crate::time::format::TimeFormat;
use jiff::tz::TimeZone;
use memchr::memmem::Finder;
use std::cmp::Ordering;

/// All functions: name, how many arguments in words, how it is written.
pub const FUNCTIONS: [(&str, &str, &str); 48] = [
    ("abs", "one", "abs(took)"),
    ("ceil", "one", "ceil(took)"),
    ("coalesce", "one or more", "coalesce(user, \"nobody\")"),
    ("concat", "one or more", "concat(host, \":\", port)"),
    ("contains", "two", "contains(message, \"x\")"),
    ("crc32c", "one", "crc32c(user)"),
    ("ends_with", "two", "ends_with(message, \"x\")"),
    ("extract", "two", "extract(message, \"id=([0-9]+)\")"),
    ("floor", "one", "floor(took)"),
    ("fnv64", "one", "fnv64(user)"),
    ("format_time", "two or three", "format_time(timestamp(), \"%Y-%m-%d\", \"Europe/Berlin\")"),
    ("from_millis", "one", "from_millis(created_ms)"),
    ("from_seconds", "one", "from_seconds(created)"),
    ("hmac_sha256", "two", "hmac_sha256(user, \"KEY\")"),
    ("if", "three", "if(status >= 500, \"bad\", \"good\")"),
    ("in_cidr", "two or more", "in_cidr(client, \"10.0.0.0/8\")"),
    ("int", "one", "int(took)"),
    ("ip_mask", "two or three", "ip_mask(client, 24, 48)"),
    ("ip_version", "one", "ip_version(client)"),
    ("is_bool", "one", "is_bool(ok)"),
    ("is_ip", "one", "is_ip(client)"),
    ("is_list", "one", "is_list(tags)"),
    ("is_null", "one", "is_null(user)"),
    ("is_number", "one", "is_number(took)"),
    ("is_object", "one", "is_object(user)"),
    ("is_private", "one", "is_private(client)"),
    ("is_text", "one", "is_text(user)"),
    ("length", "one", "length(message)"),
    ("lower", "one", "lower(host)"),
    ("max", "one or more", "max(took, 1)"),
    ("min", "one or more", "min(took, 1000)"),
    ("now", "none", "now()"),
    ("number", "one", "number(took)"),
    ("parse_time", "two or three", "parse_time(created, \"rfc3339\", \"utc\")"),
    ("part", "three", "part(path, \"/\", 1)"),
    ("replace", "three", "replace(path, \"/\", \"_\")"),
    ("replace_pattern", "three", "replace_pattern(path, \"[0-9]+\", \"N\")"),
    ("round", "one or two", "round(took, 2)"),
    ("sha256", "one", "sha256(user)"),
    ("starts_with", "two", "starts_with(message, \"x\")"),
    ("substr", "two or three", "substr(id, 0, 8)"),
    ("template", "one", "template(\"{labels.app}-{fields.level}\")"),
    ("text", "one", "text(status)"),
    ("timestamp", "none", "timestamp()"),
    ("to_millis", "one", "to_millis(timestamp())"),
    ("to_seconds", "one", "to_seconds(timestamp())"),
    ("trim", "one", "trim(user)"),
    ("upper", "one", "upper(method)"),
];

const SECOND: i64 = 1_000_000_000;
const MILLISECOND: i64 = 1_000_000;

/// A function as far as it was read: its name, and how it is written.
#[derive(Clone, Copy)]
struct Call {
    name: &'static str,
    count: &'static str,
    usage: &'static str,
}

impl<'a> Parser<'a> {
    /// A function with its arguments.
    pub(super) fn function(&mut self, name: &str) -> Result<Tree, ExprError> {
        let word = self.take()?;
        let Some((name, count, usage)) = FUNCTIONS.iter().find(|(known, ..)| *known == name).copied() else {
            return Err(unknown(&word, name));
        };
        self.take()?;
        let call = Call { name, count, usage };
        let tree = self.call(call)?;
        if self.token.kind != Kind::Close {
            return Err(match self.token.kind {
                Kind::Comma => self.wrong_count(call),
                _ => self.token.error("`)` is missing before this"),
            });
        }
        self.take()?;
        Ok(tree)
    }

    // Functions nest, so what each needs of the stack is kept apart.
    fn call(&mut self, call: Call) -> Result<Tree, ExprError> {
        match call.name {
            "contains" | "starts_with" | "ends_with" => self.text_test(call),
            "if" => self.decision(call),
            "coalesce" | "concat" | "min" | "max" => self.of_many(call),
            "now" => Ok(Tree::Value(Calc::Now, Type::Number)),
            "timestamp" => Ok(Tree::Value(Calc::Timestamp, Type::Number)),
            "substr" => self.substr(call),
            "abs" | "ceil" | "floor" | "int" | "from_millis" | "from_seconds" | "round" | "to_millis"
            | "to_seconds" => self.of_number(call),
            "format_time" => self.format_time(call),
            "is_bool" | "is_ip" | "is_list" | "is_null" | "is_number" | "is_object" | "is_text" => {
                self.shape(call)
            }
            "template" => self.template(),
            _ => self.of_text(call),
        }
    }

    fn of_many(&mut self, call: Call) -> Result<Tree, ExprError> {
        let wanted = match call.name {
            "coalesce" => Type::Any,
            "concat" => Type::Text,
            _ => Type::Number,
        };
        let calcs = self.some(call, wanted)?;
        let calc = match call.name {
            "coalesce" => Calc::Coalesce(calcs),
            "concat" => Calc::Concat(calcs),
            "min" => Calc::Extreme(Ordering::Less, calcs),
            _ => Calc::Extreme(Ordering::Greater, calcs),
        };
        Ok(Tree::Value(calc, wanted))
    }

    fn substr(&mut self, call: Call) -> Result<Tree, ExprError> {
        let text = self.argument(call, Type::Text)?;
        self.comma(call)?;
        let from = self.argument(call, Type::Number)?;
        let len = match self.another()? {
            true => Some(Box::new(self.argument(call, Type::Number)?)),
            false => None,
        };
        Ok(Tree::Value(Calc::Substr(Box::new([text, from]), len), Type::Text))
    }

    fn of_number(&mut self, call: Call) -> Result<Tree, ExprError> {
        let number = self.argument(call, Type::Number)?;
        let what = match call.name {
            "abs" => OfNumber::Abs,
            "ceil" => OfNumber::Ceil,
            "floor" => OfNumber::Floor,
            "int" => OfNumber::Int,
            "from_millis" => OfNumber::To(MILLISECOND),
            "from_seconds" => OfNumber::To(SECOND),
            "to_millis" => OfNumber::From(MILLISECOND),
            "to_seconds" => OfNumber::From(SECOND),
            _ if self.another()? => OfNumber::Round(self.whole(call, 0..=15)? as i32),
            _ => OfNumber::Round(0),
        };
        Ok(Tree::Value(Calc::OfNumber(Box::new(what), Box::new(number)), Type::Number))
    }

    fn shape(&mut self, call: Call) -> Result<Tree, ExprError> {
        let shape = match call.name {
            "is_bool" => Shape::Bool,
            "is_ip" => Shape::Ip,
            "is_list" => Shape::List,
            "is_null" => Shape::Null,
            "is_number" => Shape::Number,
            "is_object" => Shape::Object,
            _ => Shape::Text,
        };
        let of = self.argument(call, Type::Any)?;
        Ok(Tree::Value(Calc::Is(shape, Box::new(of)), Type::Truth))
    }

    /// Whether a text is in another, as a condition.
    fn text_test(&mut self, call: Call) -> Result<Tree, ExprError> {
        let calc = self.argument(call, Type::Any)?;
        self.comma(call)?;
        let text = self.some_text(&format!("`{}` looks for text", call.name))?;
        let test = match call.name {
            "contains" => Test::Contains(Box::new(Finder::new(text.as_bytes()).into_owned())),
            "starts_with" => Test::StartsWith(text.into()),
            _ => Test::EndsWith(text.into()),
        };
        Ok(Tree::Condition(tested(calc, test, false)))
    }

    fn decision(&mut self, call: Call) -> Result<Tree, ExprError> {
        let first = self.token.clone();
        let tree = self.any()?;
        let node: Node = self.condition(tree, &first)?;
        self.comma(call)?;
        let (one, of) = self.typed(call)?;
        self.comma(call)?;
        let (other, of_other) = self.typed(call)?;
        let of = if of == of_other { of } else { Type::Any };
        Ok(Tree::Value(Calc::If(Box::new(node), Box::new([one, other])), of))
    }

    fn format_time(&mut self, call: Call) -> Result<Tree, ExprError> {
        let time = self.argument(call, Type::Number)?;
        self.comma(call)?;
        let place = self.token.clone();
        let format = self.text_literal("a format is text")?;
        let known = TimeFormat::compile(&format).map_err(|message| place.error(message))?;
        let zone = self.zone()?.unwrap_or(TimeZone::UTC);
        let pattern = |text: &str| OfNumber::FormatTime(text.into(), zone.clone());
        let what = match known {
            TimeFormat::Rfc3339 | TimeFormat::Iso8601 => OfNumber::Rfc3339(zone),
            TimeFormat::Rfc2822 => pattern("%a, %d %b %Y %H:%M:%S %z"),
            TimeFormat::Rfc3164 => pattern("%b %e %H:%M:%S"),
            TimeFormat::Clf => pattern("%d/%b/%Y:%H:%M:%S %z"),
            TimeFormat::Pattern(text) => pattern(&text),
            TimeFormat::Unix | TimeFormat::UnixMs | TimeFormat::UnixUs | TimeFormat::UnixNs => {
                return Err(place.error("a time is such a number already: see `to_seconds` and `to_millis`"));
            }
        };
        Ok(Tree::Value(Calc::OfNumber(Box::new(what), Box::new(time)), Type::Text))
    }

    /// The zone that may follow.
    fn zone(&mut self) -> Result<Option<TimeZone>, ExprError> {
        if !self.another()? {
            return Ok(None);
        }
        let place = self.token.clone();
        let name = self.text_literal("a time zone is text")?;
        let zone = match name.as_str() {
            "local" => Ok(TimeZone::system()),
            "utc" => Ok(TimeZone::UTC),
            other => TimeZone::get(other),
        };
        let wrong = "expected `local`, `utc` or a zone this host knows, such as `Europe/Berlin`";
        zone.map(Some).map_err(|_| place.error(wrong))
    }

    // --- arguments

    /// The next argument, and what it is known to be.
    fn typed(&mut self, call: Call) -> Result<(Calc, Type), ExprError> {
        if self.token.kind == Kind::Close {
            return Err(self.wrong_count(call));
        }
        let first = self.token.clone();
        Ok(match self.any()? {
            Tree::Condition(node) => (Calc::Truth(Box::new(node)), Type::Truth),
            Tree::Value(calc, of) => {
                if !matches!(self.token.kind, Kind::Comma | Kind::Close | Kind::End) {
                    return Err(self.span(&first, "`,` or `)` is missing behind this"));
                }
                (calc, of)
            }
        })
    }

    /// The next argument, which must be able to be `wanted`.
    fn argument(&mut self, call: Call, wanted: Type) -> Result<Calc, ExprError> {
        let first = self.token.clone();
        let (calc, of) = self.typed(call)?;
        match (wanted, of) {
            (Type::Number, Type::Text) => {
                let message = format!("`{}` takes a number; `number(...)` reads one of a text", call.name);
                Err(self.span(&first, message))
            }
            (Type::Number | Type::Text, Type::Truth) => {
                let what = if wanted == Type::Text { "text" } else { "a number" };
                let message = format!("`{}` takes {what}, and this holds or does not", call.name);
                Err(self.span(&first, message))
            }
            _ => Ok(calc),
        }
    }

    /// One argument or more.
    fn some(&mut self, call: Call, wanted: Type) -> Result<Box<[Calc]>, ExprError> {
        let mut calcs = vec![self.argument(call, wanted)?];
        while self.another()? {
            if calcs.len() == ARGUMENTS_MAX {
                return Err(self.token.error(format!("`{}` takes at most {ARGUMENTS_MAX}", call.name)));
            }
            calcs.push(self.argument(call, wanted)?);
        }
        Ok(calcs.into())
    }

    /// Whether another argument follows: then the comma is taken.
    fn another(&mut self) -> Result<bool, ExprError> {
        let more = self.token.kind == Kind::Comma;
        if more {
            self.take()?;
        }
        Ok(more)
    }

    /// The comma behind an argument that is not the last.
    fn comma(&mut self, call: Call) -> Result<(), ExprError> {
        match self.token.kind {
            Kind::Comma => self.take().map(drop),
            Kind::Close => Err(self.wrong_count(call)),
            _ => Err(self.token.error("`,` is missing before this")),
        }
    }

    /// A text that is not empty, in quotes.
    fn some_text(&mut self, why: &str) -> Result<String, ExprError> {
        let place = self.token.clone();
        let text = self.text_literal(why)?;
        if text.is_empty() {
            return Err(place.error("the empty text is in every text: ask for `exists` instead"));
        }
        Ok(text)
    }

    /// A whole number that stands there.
    fn whole(&mut self, call: Call, range: std::ops::RangeInclusive<i64>) -> Result<i64, ExprError> {
        let token = self.take()?;
        let number = if let Kind::Number(text) = token.kind { text.parse().ok() } else { None };
        number.filter(|number| range.contains(number)).ok_or_else(|| {
            let (least, most) = (range.start(), range.end());
            token.error(format!("a number from {least} to {most} is expected here, as in `{}`", call.usage))
        })
    }

    /// Too few arguments, or too many.
    fn wrong_count(&self, call: Call) -> ExprError {
        self.token.error(format!("`{}` takes {}: `{}`", call.name, call.count, call.usage))
    }
}

/// What is wrong where no function has this name.
fn unknown(word: &Token<'_>, name: &str) -> ExprError {
    let distance = |known: &str| strsim::jaro_winkler(name, known);
    let close = FUNCTIONS
        .iter()
        .map(|(known, ..)| *known)
        .max_by(|one, other| distance(one).total_cmp(&distance(other)));
    let message = match close.filter(|known| distance(known) >= 0.8) {
        Some(known) => format!("unknown function `{name}`: did you mean `{known}`?"),
        None => {
            let known = FUNCTIONS.map(|(name, ..)| name).join(", ");
            format!("unknown function `{name}`: there are {known}")
        }
    };
    word.error(message)
}

/// What a function makes of a text, and what that is.
type Made = (OfText, Type);
