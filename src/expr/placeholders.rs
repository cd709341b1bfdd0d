//! Text made of what is known of an entry: `{labels.app}-{host}`.
//!
//! The values are taken as they are. Whoever uses the text says what may stand in it.

use crate::block::EntryView;
use crate::entry::{Kind, unescape_into};
use crate::labels::Stream;
use std::ops::Range;

/// A checked pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    pieces: Vec<Piece>,
}

impl Pattern {
    /// Reads a pattern: text and the placeholders `{source}`, `{origin}`, `{host}`, `{labels.NAME}`, `{fields.NAME}`.
    pub fn compile(text: &str) -> Result<Self, TemplateError> {
        if let Some(time) = ["{date}", "{hour}"].iter().find(|time| text.contains(**time)) {
            let start = text.find(time).unwrap_or_default();
            let message = format!("`{time}` has no place here: entries carry their own time");
            return Err(TemplateError::new(message, start..start + time.len()));
        }
        let host = rustix::system::uname();
        Ok(Pattern { pieces: Piece::compile_all(text, 0, &host.nodename().to_string_lossy())? })
    }

    /// Whether it is the same for all entries.
    pub fn is_fixed(&self) -> bool {
        self.pieces.iter().all(|piece| matches!(piece, Piece::Literal(_)))
    }

    /// Whether entries of one stream can differ in it.
    pub fn is_per_entry(&self) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Field(_)))
    }

    /// What it is made of.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Appends it for `entry`. What is not there is nothing.
    pub fn write(&self, stream: &Stream, entry: Option<EntryView<'_>>, out: &mut Vec<u8>) {
        for piece in &self.pieces {
            Pattern::write_piece(piece, stream, entry, out);
        }
    }

    /// Appends a part of it.
    pub fn write_piece(piece: &Piece, stream: &Stream, entry: Option<EntryView<'_>>, out: &mut Vec<u8>) {
        match piece {
            Piece::Literal(text) => out.extend_from_slice(text.as_bytes()),
            Piece::Source => out.extend_from_slice(stream.source_name.as_bytes()),
            Piece::Origin => out.extend_from_slice(stream.origin.as_bytes()),
            Piece::Label(name) => out.extend_from_slice(stream.labels.get(name).unwrap_or("").as_bytes()),
            Piece::Field(name) => {
                if let Some(field) = entry.and_then(|entry| entry.field(name.as_bytes())) {
                    write_text(field.kind(), field.raw(), out);
                }
            }
            // Refused by `compile`.
            Piece::Date | Piece::Hour => {}
        }
    }
}

/// A part of a text with placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Text as it is.
    Literal(String),
    /// The name of the source.
    Source,
    /// What the stream is called.
    Origin,
    /// The day, UTC.
    Date,
    /// The hour, UTC.
    Hour,
    /// A label of the stream.
    Label(String),
    /// A field of the entry.
    Field(String),
}

/// What is wrong with a template, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TemplateError {
    /// What is wrong, and what would be right.
    pub message: String,
    /// Where the wrong part begins in the template, in bytes.
    pub start: usize,
    /// How many bytes it has.
    pub len: usize,
}

impl TemplateError {
    /// What is wrong with the part `span`.
    pub fn new(message: impl Into<String>, span: Range<usize>) -> Self {
        TemplateError { message: message.into(), start: span.start, len: span.len() }
    }
}

impl Piece {
    /// The pieces of a text that begins at `at` of its template; `{host}` becomes `host` at once.
    pub fn compile_all(text: &str, at: usize, host: &str) -> Result<Vec<Piece>, TemplateError> {
        let (mut pieces, mut rest, mut at) = (Vec::new(), text, at);
        while let Some(open) = rest.find(['{', '}']) {
            if open > 0 {
                pieces.push(Piece::Literal(rest[..open].to_owned()));
            }
            let inside = rest[open..].strip_prefix('{').and_then(|inside| inside.split_once('}'));
            let Some((inside, behind)) = inside else {
                let message = "a brace without its other half: placeholders are written as `{date}`";
                return Err(TemplateError::new(message, at + open..at + open + 1));
            };
            let end = rest.len() - behind.len();
            pieces.push(Piece::compile(inside, at + open..at + end, host)?);
            (rest, at) = (behind, at + end);
        }
        if !rest.is_empty() {
            pieces.push(Piece::Literal(rest.to_owned()));
        }
        Ok(pieces)
    }

    fn compile(inside: &str, span: Range<usize>, host: &str) -> Result<Piece, TemplateError> {
        Ok(match inside {
            "source" => Piece::Source,
            "origin" => Piece::Origin,
            "date" => Piece::Date,
            "hour" => Piece::Hour,
            "host" => Piece::Literal(host.to_owned()),
            _ => match inside.split_once('.') {
                Some(("labels", name)) if !name.is_empty() => Piece::Label(name.to_owned()),
                Some(("fields", name)) if !name.is_empty() => Piece::Field(name.to_owned()),
                _ => {
                    let message = format!(
                        "unknown placeholder `{{{inside}}}`: known are {{source}}, {{origin}}, {{date}}, {{hour}}, \
                         {{host}}, {{labels.NAME}} and {{fields.NAME}}"
                    );
                    return Err(TemplateError::new(message, span));
                }
            },
        })
    }
}

/// Appends a field's value as text: escapes resolved, everything else as written.
pub fn write_text(kind: Kind, raw: &[u8], out: &mut Vec<u8>) {
    let begin = out.len();
    if kind != Kind::Escaped || !unescape_into(raw, out) {
        out.truncate(begin);
        out.extend_from_slice(raw);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::testing::{add_field, block_of, stream};

    #[test]
    fn values_stand_as_they_are_and_what_is_missing_is_nothing() {
        let one = stream("app", "/a\r\nb", &[("env", "prod")]);
        let mut block = block_of(&one, &["x", "y"]);
        add_field(&mut block, 0, b"user", br"a\nb", Kind::Escaped);
        let pattern = Pattern::compile("<{source}|{origin}|{labels.env}{labels.no}|{fields.user}>").unwrap();
        let written = |place| {
            let mut out = Vec::new();
            pattern.write(&one, Some(block.view(place)), &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!([written(0), written(1)], ["<app|/a\r\nb|prod|a\nb>", "<app|/a\r\nb|prod|>"]);
        assert!(pattern.is_per_entry() && !pattern.is_fixed());
        assert!(Pattern::compile("plain {host}").unwrap().is_fixed());
    }

    #[test]
    fn what_is_wrong_is_pointed_at() {
        for (text, start, word) in
            [("a{sorce}", 1, "{sorce}"), ("a{", 1, "brace"), ("x{date}", 1, "no place here")]
        {
            let error = Pattern::compile(text).unwrap_err();
            assert!(error.start == start && error.message.contains(word), "{text}: {error}");
        }
    }
}
