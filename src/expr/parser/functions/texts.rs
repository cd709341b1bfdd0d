//! Functions of one text.

use super::super::super::calc::{Calc, Net, OfText, number};
use super::super::super::placeholders::Pattern;
use super::super::super::{ExprError, pattern};
use super::super::{Parser, Tree, Type};
use super::{Call, Made};
use crate::time::format::TimeFormat;
use jiff::tz::TimeZone;
use memchr::memmem::Finder;
use regex::bytes::Regex;

impl Parser<'_> {
    /// A function whose first argument is a text.
    pub(super) fn of_text(&mut self, call: Call) -> Result<Tree, ExprError> {
        let calc = self.argument(call, Type::Text)?;
        let (what, of) = self.made(call)?;
        Ok(Tree::Value(Calc::OfText(Box::new(what), Box::new(calc)), of))
    }

    fn made(&mut self, call: Call) -> Result<Made, ExprError> {
        Ok(match call.name {
            "text" => (OfText::Text, Type::Text),
            "lower" => (OfText::Lower, Type::Text),
            "upper" => (OfText::Upper, Type::Text),
            "trim" => (OfText::Trim, Type::Text),
            "length" => (OfText::Length, Type::Number),
            "number" => (OfText::Number, Type::Number),
            "crc32c" => (OfText::Crc32c, Type::Number),
            "fnv64" => (OfText::Fnv64, Type::Text),
            "sha256" => (OfText::Sha256, Type::Text),
            "hmac_sha256" => {
                self.comma(call)?;
                let key = self.some_text("a key is text")?;
                let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key.as_bytes());
                (OfText::HmacSha256(key), Type::Text)
            }
            "part" => {
                self.comma(call)?;
                let separator = self.some_text("what parts are separated by is text")?;
                self.comma(call)?;
                let place = self.whole(call, -1000..=1000)?;
                (OfText::Part(Finder::new(separator.as_bytes()).into_owned(), place), Type::Text)
            }
            "replace" => {
                self.comma(call)?;
                let from = self.some_text("what is replaced is text")?;
                self.comma(call)?;
                let with = self.text_literal("what is put there is text")?;
                (OfText::Replace(Finder::new(from.as_bytes()).into_owned(), with.into()), Type::Text)
            }
            "replace_pattern" => {
                self.comma(call)?;
                let regex = self.regex()?;
                self.comma(call)?;
                let with = self.text_literal("what is put there is text")?;
                (OfText::ReplacePattern(regex, with.into(), number()), Type::Text)
            }
            "extract" => {
                self.comma(call)?;
                (OfText::Extract(self.regex()?, number()), Type::Text)
            }
            "parse_time" => {
                self.comma(call)?;
                let place = self.token.clone();
                let format = self.text_literal("a format is text")?;
                let format = TimeFormat::compile(&format).map_err(|message| place.error(message))?;
                let zone = self.zone()?.unwrap_or(TimeZone::UTC);
                (OfText::ParseTime(format, zone, number()), Type::Number)
            }
            "in_cidr" => {
                self.comma(call)?;
                let mut nets = vec![self.net()?];
                while self.another()? {
                    nets.push(self.net()?);
                }
                (OfText::InCidr(nets.into()), Type::Truth)
            }
            "is_private" => (OfText::IsPrivate, Type::Truth),
            "ip_version" => (OfText::IpVersion, Type::Number),
            _ => {
                self.comma(call)?;
                let four = self.whole(call, 0..=32)? as u8;
                let six = match self.another()? {
                    true => self.whole(call, 0..=128)? as u8,
                    false => 128,
                };
                (OfText::IpMask(four, six), Type::Text)
            }
        })
    }

    /// A text with placeholders.
    pub(super) fn template(&mut self) -> Result<Tree, ExprError> {
        let place = self.token.clone();
        let text = self.text_literal("a template is text")?;
        let pattern = Pattern::compile(&text).map_err(|error| place.error(error.message))?;
        Ok(Tree::Value(Calc::Template(pattern), Type::Text))
    }

    fn regex(&mut self) -> Result<Regex, ExprError> {
        let place = self.token.clone();
        let text = self.text_literal("a pattern is text")?;
        pattern(&text).map_err(|message| place.error(message))
    }

    fn net(&mut self) -> Result<Net, ExprError> {
        let place = self.token.clone();
        let text = self.text_literal("a network is text")?;
        Net::parse(&text).map_err(|message| place.error(message))
    }
}
