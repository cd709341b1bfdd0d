//! Tokens to a tree, by descent: one function per line of the grammar.

use super::lexer::{self, Kind, Token};
use super::value::{Literal, Number};
use super::{DEPTH_MAX, ExprError, LEN_MAX, Node, Subject};

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
        return Err(ExprError { message, start: LEN_MAX, len: text.len() - LEN_MAX });
    }
    let mut parser = Parser { text, token: lexer::next(text, 0)?, depth: 0 };
    let node = parser.any()?;
    match &parser.token.kind {
        Kind::End => Ok(node),
        Kind::Close => Err(parser.token.error("this `)` closes nothing")),
        Kind::Equal | Kind::Unequal => {
            Err(parser.token.error("one comparison at a time: join them with `and`"))
        }
        Kind::Word(word) if is_keyword(&word.to_ascii_lowercase()) => {
            Err(parser.token.error(format!("keywords are in lower case: `{}`", word.to_ascii_lowercase())))
        }
        _ => Err(parser.token.error("`and` or `or` is missing before this")),
    }
}

fn is_keyword(word: &str) -> bool {
    matches!(word, "and" | "or" | "not")
}

impl<'a> Parser<'a> {
    /// Takes the next token.
    fn take(&mut self) -> Result<Token<'a>, ExprError> {
        let next = lexer::next(self.text, self.token.start + self.token.len)?;
        Ok(std::mem::replace(&mut self.token, next))
    }

    /// Takes the next token if it is this keyword.
    fn keyword(&mut self, word: &str) -> Result<bool, ExprError> {
        let there = self.token.kind == Kind::Word(word);
        if there {
            self.take()?;
        }
        Ok(there)
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
        let subject = self.subject()?;
        let written = &self.text[first.start..];
        let equal = match self.token.kind {
            Kind::Equal => true,
            Kind::Unequal => false,
            _ => {
                let name = written[..self.token.start - first.start].trim_end();
                let message = format!("`{name}` alone is no condition: compare it, as in `{name} == \"x\"`");
                return Err(ExprError { message, start: first.start, len: name.len() });
            }
        };
        self.take()?;
        let value = self.token.clone();
        let literal = self.literal()?;
        let is_text = matches!(literal, Literal::Text(_));
        if !is_text && !matches!(subject, Subject::Field(_)) {
            return Err(value.error(format!(
                "labels, `source` and `message` are text: compare with \"{}\" in quotes",
                &self.text[value.start..value.start + value.len]
            )));
        }
        Ok(Node::Test { subject, equal, literal })
    }

    fn subject(&mut self) -> Result<Subject, ExprError> {
        let first = self.take()?;
        let dotted = self.token.kind == Kind::Dot;
        Ok(match first.kind {
            Kind::Word("labels") if dotted => {
                self.take()?;
                match self.token.kind {
                    Kind::Word(name) | Kind::Name(name) => {
                        self.take()?;
                        self.refuse_nested(&first)?;
                        Subject::Label(name.into())
                    }
                    _ => return Err(self.token.error("a label's name is missing here, as in `labels.app`")),
                }
            }
            Kind::Word("labels") => return Err(first.error("say which label, as in `labels.app`")),
            Kind::Word(word) if dotted && strsim::damerau_levenshtein(word, "labels") <= 2 => {
                return Err(first.error(format!("`{word}` has no parts: did you mean `labels`?")));
            }
            Kind::Word("true" | "false" | "null") | Kind::Text(_) | Kind::Number(_) => {
                return Err(first.error("a comparison begins with a field, as in `level == \"error\"`"));
            }
            Kind::Word(word) if is_keyword(&word.to_ascii_lowercase()) => {
                let lower = word.to_ascii_lowercase();
                return Err(first.error(match lower == word {
                    true => format!("`{lower}` stands where a field is expected"),
                    false => format!("keywords are in lower case: `{lower}`"),
                }));
            }
            Kind::Word(name) | Kind::Name(name) => {
                self.refuse_nested(&first)?;
                match first.kind {
                    Kind::Word("source") => Subject::Source,
                    Kind::Word("message") => Subject::Message,
                    _ => Subject::Field(name.into()),
                }
            }
            Kind::End => return Err(first.error("the condition ends where a field is expected")),
            _ => return Err(first.error("a field is expected here, as in `level == \"error\"`")),
        })
    }

    /// Refuses a dot behind the name that `first` begins.
    fn refuse_nested(&self, first: &Token<'_>) -> Result<(), ExprError> {
        if self.token.kind != Kind::Dot {
            return Ok(());
        }
        let written = &self.text[first.start..];
        let path = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '.' | '`');
        let len = written.find(|letter| !path(letter)).unwrap_or(written.len());
        let plain = written[..len].replace('`', "");
        let message = format!(
            "fields inside of fields cannot be reached; a field that is itself called `{plain}` stands in backticks"
        );
        Err(ExprError { message, start: first.start, len })
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
                    return Err(
                        value.error(format!("`{text}` is no number; text stands in quotes: \"{text}\""))
                    );
                }
            },
            Kind::Word(word) | Kind::Name(word) => {
                return Err(value.error(format!("text stands in quotes: \"{word}\"")));
            }
            Kind::End => return Err(value.error("the condition ends where a value is expected")),
            _ => {
                return Err(
                    value.error("a value is expected here: text in quotes, a number, true, false or null")
                );
            }
        })
    }
}
