//! What is tested, and the literals it is compared with.

use super::super::ExprError;
use super::super::lexer::{Kind, Token};
use super::super::number::Number;
use super::super::path::Part;
use super::super::subject::Subject;
use super::super::value::Literal;
use super::{Left, Parser, Type, is_keyword};

/// Deepest way into a field: as deep as JSON may be.
const PARTS_MAX: usize = 64;

impl<'a> Parser<'a> {
    /// What a test begins with.
    pub(super) fn subject(&mut self) -> Result<Subject, ExprError> {
        let first = self.take()?;
        let dotted = self.token.kind == Kind::Dot;
        Ok(match first.kind {
            Kind::Word("labels") if dotted => {
                self.take()?;
                let name = self.name("a label's name is missing here, as in `labels.app`")?;
                self.refuse_parts(
                    "labels are text and have no parts; a name with a dot stands in backticks",
                )?;
                Subject::Label(name)
            }
            Kind::Word("labels") => return Err(first.error("say which label, as in `labels.app`")),
            Kind::Word("fields") if dotted => {
                self.take()?;
                let name = self.name("a field's name is missing here, as in `fields.level`")?;
                Subject::Field(name, self.parts()?)
            }
            Kind::Word("fields") => return Err(first.error("say which field, as in `fields.level`")),
            Kind::Word(word) if dotted => {
                for known in ["labels", "fields"] {
                    // A typing error here would be a field that no entry has.
                    if strsim::damerau_levenshtein(word, known) <= 1 + usize::from(known == "labels") {
                        let message =
                            format!("did you mean `{known}`? A field that is called so is `fields.{word}`");
                        return Err(first.error(message));
                    }
                }
                self.named(&first, word)?
            }
            Kind::Word("true" | "false" | "null") | Kind::Text(_) | Kind::Number(_) => {
                return Err(first.error("a comparison begins with a field, as in `level == \"error\"`"));
            }
            Kind::Word(word) => self.named(&first, word)?,
            Kind::Name(name) => Subject::Field(name.into(), self.parts()?),
            Kind::End => return Err(first.error("this ends where a field is expected")),
            _ => return Err(first.error("a field is expected here, as in `level == \"error\"`")),
        })
    }

    /// What the bare word `word` names.
    fn named(&mut self, first: &Token<'_>, word: &str) -> Result<Subject, ExprError> {
        let lower = word.to_ascii_lowercase();
        if is_keyword(&lower) {
            return Err(first.error(match lower == word {
                true => format!(
                    "`{lower}` stands where a field is expected; a field of that name is `fields.{lower}`"
                ),
                false => format!("keywords are in lower case: `{lower}`"),
            }));
        }
        Ok(match word {
            "source" => {
                self.refuse_parts(
                    "`source` is text and has no parts; a field of that name is `fields.source`",
                )?;
                Subject::Source
            }
            "message" => match self.parts()? {
                parts if parts.is_empty() => Subject::Message,
                parts => Subject::Field(word.into(), parts),
            },
            name => Subject::Field(name.into(), self.parts()?),
        })
    }

    /// The way into a field, as far as it is written.
    fn parts(&mut self) -> Result<Box<[Part]>, ExprError> {
        let mut parts = Vec::new();
        while let Some(part) = self.part()? {
            if parts.len() == PARTS_MAX {
                return Err(self.token.error(format!("no field is deeper than {PARTS_MAX} levels")));
            }
            parts.push(part);
        }
        Ok(parts.into())
    }

    fn part(&mut self) -> Result<Option<Part>, ExprError> {
        match self.token.kind {
            Kind::Dot => {
                self.take()?;
                if let Kind::Number(text) = self.token.kind {
                    let message = format!("an item of a list stands in brackets: `[{text}]`");
                    return Err(self.token.error(message));
                }
                self.name("a name is missing here, as in `user.name`").map(|name| Some(Part::Member(name)))
            }
            Kind::OpenList => {
                self.take()?;
                let inside = self.take()?;
                let part = match &inside.kind {
                    Kind::Text(name) => Part::Member(name.as_str().into()),
                    Kind::Number(text) => match text.parse() {
                        Ok(index) => Part::Item(index),
                        Err(_) => return Err(inside.error("items are counted from 0: `[0]`, `[1]`")),
                    },
                    _ => {
                        return Err(
                            inside.error("a place or a name in quotes is expected here: `[0]`, `[\"a b\"]`")
                        );
                    }
                };
                self.expect(&Kind::CloseList, "`]` is missing before this")?;
                Ok(Some(part))
            }
            _ => Ok(None),
        }
    }

    fn refuse_parts(&mut self, message: &str) -> Result<(), ExprError> {
        match self.token.kind {
            Kind::Dot | Kind::OpenList => Err(self.token.error(message)),
            _ => Ok(()),
        }
    }

    /// A name behind a dot: bare, in backticks or in quotes.
    fn name(&mut self, missing: &str) -> Result<Box<str>, ExprError> {
        let name = match &self.token.kind {
            Kind::Word(name) | Kind::Name(name) => (*name).into(),
            Kind::Text(name) => name.as_str().into(),
            _ => return Err(self.token.error(missing)),
        };
        self.take()?;
        Ok(name)
    }

    /// A literal that the left side can be compared with.
    pub(super) fn literal_for(&mut self, left: &Left) -> Result<Literal, ExprError> {
        let place = self.token.clone();
        let literal = self.literal()?;
        let written = &self.text[place.start..place.start + place.len];
        let message = match &literal {
            Literal::Text(_) if left.of == Type::Number => "this is a number: compare with one".to_owned(),
            Literal::Text(_) => return Ok(literal),
            _ if left.is_text && left.of == Type::Text => {
                format!(
                    "this is text: compare with \"{written}\" in quotes, or with what `number(...)` reads of it"
                )
            }
            _ if left.is_text => {
                format!("labels, `source` and `message` are text: compare with \"{written}\" in quotes")
            }
            _ => return Ok(literal),
        };
        Err(place.error(message))
    }

    /// A literal that must be text.
    pub(super) fn text_literal(&mut self, why: &str) -> Result<String, ExprError> {
        let token = self.take()?;
        match token.kind {
            Kind::Text(text) => Ok(text),
            Kind::End => Err(token.error("this ends where a text is expected")),
            _ => Err(token.error(format!("{why}: it stands in quotes"))),
        }
    }

    fn literal(&mut self) -> Result<Literal, ExprError> {
        let value = self.take()?;
        Ok(match value.kind {
            Kind::Text(text) => Literal::Text(text.into()),
            Kind::Word("true") => Literal::Bool(true),
            Kind::Word("false") => Literal::Bool(false),
            Kind::Word("null") => Literal::Null,
            Kind::Number(text) => match Number::parse(text) {
                Some(number) => Literal::Number(number),
                None => {
                    let message = format!("`{text}` is no number; text stands in quotes: \"{text}\"");
                    return Err(value.error(message));
                }
            },
            Kind::Word(word) | Kind::Name(word) => {
                let message =
                    format!("text stands in quotes: \"{word}\"; a field stands here as `fields.{word}`");
                return Err(value.error(message));
            }
            Kind::End => return Err(value.error("this ends where a value is expected")),
            _ => {
                return Err(
                    value.error("a value is expected here: text in quotes, a number, true, false or null")
                );
            }
        })
    }
}
