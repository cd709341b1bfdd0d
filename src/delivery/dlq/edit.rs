//! Changes that somebody makes to entries before they are given again: `--set KEY=VALUE`.

use super::letter::{KeptEntry, KeptField};
use crate::entry::{Entry, Field, Kind, reads_as};
use crate::labels::{LABELS_MAX, Labels};

/// Most changes at once.
pub const EDITS_MAX: usize = 64;

/// The changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edits {
    message: Option<Vec<u8>>,
    labels: Vec<(String, String)>,
    fields: Vec<KeptField>,
}

impl Edits {
    /// Reads changes as `message=TEXT`, `labels.NAME=TEXT`, `fields.NAME=VALUE` or `NAME=VALUE` for a field. A value that
    /// is a JSON number, `true`, `false` or `null` is that; anything else is text.
    ///
    /// Errors: what is wrong with which of them.
    pub fn parse<'a>(all: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut edits = Edits::default();
        for (count, text) in all.into_iter().enumerate() {
            if count == EDITS_MAX {
                return Err(format!("more than {EDITS_MAX} changes"));
            }
            let Some((key, value)) = text.split_once('=') else {
                return Err(format!("`{text}`: expected KEY=VALUE, such as labels.env=test"));
            };
            match key.split_once('.') {
                None if key == "message" => edits.message = Some(value.into()),
                Some(("labels", name)) => edits.labels.push((label(name)?.into(), value.into())),
                Some(("fields", name)) => edits.fields.push(field(name, value)?),
                _ => edits.fields.push(field(key, value)?),
            }
        }
        Ok(edits)
    }

    /// Changes an entry that goes straight to a sink.
    pub fn apply(&self, entry: &mut KeptEntry) -> Result<(), String> {
        self.set_labels(entry)?;
        if let Some(message) = &self.message {
            // As conditions and sinks read it: the field of that name, or the text.
            match entry.fields.iter_mut().rev().find(|field| is_named(field, b"message")) {
                Some(field) => {
                    (field.key_escaped, field.kind) = (false, Kind::Plain);
                    (field.key, field.value) = (b"message".to_vec(), message.clone());
                }
                None => {
                    entry.replaced = Some(message.clone());
                    mark_newlines(entry);
                }
            }
        }
        for edit in &self.fields {
            match entry.fields.iter_mut().rev().find(|field| is_named(field, &edit.key)) {
                Some(field) => *field = edit.clone(),
                None => entry.fields.push(edit.clone()),
            }
        }
        Ok(())
    }

    /// Changes an entry that goes through a pipeline: it is as it was received, with no fields but those set here.
    pub fn apply_as_received(&self, entry: &mut KeptEntry) -> Result<(), String> {
        self.set_labels(entry)?;
        entry.replaced = None;
        if let Some(message) = &self.message {
            entry.received.clone_from(message);
            mark_newlines(entry);
        }
        entry.fields.clone_from(&self.fields);
        Ok(())
    }

    fn set_labels(&self, entry: &mut KeptEntry) -> Result<(), String> {
        if self.labels.is_empty() {
            return Ok(());
        }
        let set = self.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let labels = Labels::new(entry.labels.iter().chain(set));
        if labels.len() > LABELS_MAX {
            return Err(format!("an entry would have {} labels, more than {LABELS_MAX}", labels.len()));
        }
        entry.labels = labels;
        Ok(())
    }
}

fn mark_newlines(entry: &mut KeptEntry) {
    entry.flags = entry.flags & !Entry::NEWLINES | Entry::newlines(entry.text());
}

fn is_named(field: &KeptField, name: &[u8]) -> bool {
    if field.key_escaped { reads_as(&field.key, name) } else { field.key == name }
}

fn label(name: &str) -> Result<&str, String> {
    let mut bytes = name.bytes();
    let begins = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    if begins && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        Ok(name)
    } else {
        Err(format!("`{name}` cannot be the name of a label: expected letters, digits and `_`"))
    }
}

fn field(name: &str, value: &str) -> Result<KeptField, String> {
    if name.is_empty() || name.len() > Field::KEY_MAX {
        return Err(format!("the name of a field has 1 to {} bytes", Field::KEY_MAX));
    }
    let kind = match serde_json::from_str(value) {
        Ok(serde_json::Value::Number(_)) => Kind::Number,
        Ok(serde_json::Value::Bool(_)) => Kind::Bool,
        Ok(serde_json::Value::Null) => Kind::Null,
        _ => Kind::Plain,
    };
    let value = if kind == Kind::Plain { value } else { value.trim() };
    Ok(KeptField { key: name.into(), key_escaped: false, kind, value: value.into() })
}

#[cfg(test)]
mod tests {
    use super::super::letter::tests::full;
    use super::*;

    fn text(field: &KeptField) -> (&str, &str, Kind) {
        let utf8 = |bytes| std::str::from_utf8(bytes).unwrap();
        (utf8(&field.key), utf8(&field.value), field.kind)
    }

    #[test]
    fn message_labels_and_fields_are_set_over_what_was_there() {
        let set = ["message=m=1", "labels.job=c", "labels.new=d", "n=2", "fields.ok=true", "x=a b"];
        let edits = Edits::parse(set).unwrap();
        let mut entry = full().entry;
        edits.apply(&mut entry).unwrap();
        assert_eq!((entry.text(), &entry.received[..]), (&b"m=1"[..], &b"pin=1234"[..]));
        let labels: Vec<_> = entry.labels.iter().collect();
        assert_eq!(labels, [("host", "a"), ("job", "c"), ("new", "d")]);
        let fields: Vec<_> = entry.fields.iter().map(text).collect();
        let escaped = (r"a\n", r"x\ty", Kind::Escaped);
        let ok = ("ok", "true", Kind::Bool);
        assert_eq!(fields, [("n", "2", Kind::Number), escaped, ok, ("x", "a b", Kind::Plain)]);
    }

    #[test]
    fn a_field_called_message_is_the_message() {
        let mut entry = full().entry;
        Edits::parse(["fields.message=old"]).unwrap().apply(&mut entry).unwrap();
        Edits::parse(["message=new"]).unwrap().apply(&mut entry).unwrap();
        assert_eq!(text(entry.fields.last().unwrap()), ("message", "new", Kind::Plain));
        assert_eq!(entry.text(), b"pin=****");
    }

    #[test]
    fn what_goes_through_a_pipeline_is_as_received_but_for_what_was_set() {
        let mut entry = full().entry;
        Edits::parse(["x=1"]).unwrap().apply_as_received(&mut entry).unwrap();
        assert_eq!((entry.text(), entry.fields.len()), (&b"pin=1234"[..], 1));
        Edits::parse(["message=two\nlines"]).unwrap().apply_as_received(&mut entry).unwrap();
        assert_eq!((entry.text(), entry.flags & Entry::NEWLINES), (&b"two\nlines"[..], Entry::NEWLINES));
    }

    #[test]
    fn what_cannot_be_set_is_said() {
        for (edit, says) in [("x", "KEY=VALUE"), ("labels.a-b=1", "name of a label"), ("=1", "1 to 1024")] {
            assert!(Edits::parse([edit]).unwrap_err().contains(says), "{edit}");
        }
    }
}
