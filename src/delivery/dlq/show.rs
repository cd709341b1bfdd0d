//! Letters for people and programs: as JSON, and as one line of a table.

use super::letter::{DeadLetter, KeptField};
use crate::entry::{Kind, unescape};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// Longest text shown in a table, in characters.
const SHOWN: usize = 60;

/// The letter as a JSON object: `message`, `timestamp`, `labels` and `fields` of its entry, and what became of it under
/// `dead_letter`. A text that is not UTF-8 is there readable as far as it is, and whole in `message_base64`.
pub fn json(id: u64, letter: &DeadLetter) -> Value {
    let entry = &letter.entry;
    let mut object = Map::new();
    object.insert("timestamp".into(), nanos(entry.time).into());
    text("message", entry.text(), &mut object);
    if entry.replaced.is_some() {
        text("received", &entry.received, &mut object);
    }
    let labels = entry.labels.iter().map(|(name, value)| (name.to_owned(), value.into()));
    object.insert("labels".into(), labels.collect::<Map<_, _>>().into());
    let fields = entry.fields.iter().map(|field| (key(field), value(field)));
    object.insert("fields".into(), fields.collect::<Map<_, _>>().into());
    object.insert(
        "dead_letter".into(),
        json!({
            "id": id,
            "reason": letter.reason.name(),
            "status": letter.status,
            "why": letter.why,
            "attempts": letter.attempts,
            "retries": letter.retries,
            "sink": letter.sink,
            "source": &*entry.source,
            "source_type": entry.source_type,
            "origin": entry.origin,
            "first_failed": millis(letter.first_failed_ms),
            "dead_at": millis(letter.dead_ms),
            "next_try": (letter.next_try_ms > 0).then(|| millis(letter.next_try_ms)),
        }),
    );
    object.into()
}

/// The letter as a row of a table, under [`HEAD`].
pub fn row(id: u64, letter: &DeadLetter) -> [String; 7] {
    let text = String::from_utf8_lossy(letter.entry.text());
    let clean = |text: &str| text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
    let mut shown: String = clean(&text.chars().take(SHOWN).collect::<String>());
    if text.chars().nth(SHOWN).is_some() {
        shown.push_str("...");
    }
    let sink = if letter.sink.is_empty() { "-" } else { &letter.sink };
    let status = letter.status.map_or(String::new(), |status| format!(" {status}"));
    [
        id.to_string(),
        millis(letter.dead_ms),
        clean(sink),
        format!("{}{status}", letter.reason.name()),
        letter.retries.to_string(),
        clean(&letter.entry.source),
        shown,
    ]
}

/// What stands over [`row`]s.
pub const HEAD: [&str; 7] = ["id", "dead_at", "sink", "reason", "retries", "source", "message"];

/// A time in milliseconds since 1970-01-01 UTC, in RFC 3339.
pub fn millis(ms: u64) -> String {
    let time = i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    time.map_or_else(|| ms.to_string(), |time| format!("{time:.3}"))
}

fn nanos(time: i64) -> String {
    Timestamp::from_nanosecond(time.into()).map_or_else(|_| time.to_string(), |time| format!("{time:.9}"))
}

fn text(name: &str, bytes: &[u8], object: &mut Map<String, Value>) {
    object.insert(name.into(), String::from_utf8_lossy(bytes).into());
    if std::str::from_utf8(bytes).is_err() {
        object.insert(format!("{name}_base64"), STANDARD.encode(bytes).into());
    }
}

fn key(field: &KeptField) -> String {
    let plain = field.key_escaped.then(|| unescape(&field.key)).flatten();
    String::from_utf8_lossy(plain.as_deref().unwrap_or(&field.key)).into_owned()
}

fn value(field: &KeptField) -> Value {
    let as_text = |bytes: &[u8]| Value::from(String::from_utf8_lossy(bytes));
    match field.kind {
        Kind::Plain => as_text(&field.value),
        Kind::Escaped => as_text(unescape(&field.value).as_deref().unwrap_or(&field.value)),
        Kind::Number | Kind::Bool | Kind::Null | Kind::Json => {
            serde_json::from_slice(&field.value).unwrap_or_else(|_| as_text(&field.value))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::letter::tests::full;
    use super::*;

    #[test]
    fn a_letter_in_json_has_its_entry_and_what_became_of_it() {
        let value = json(7, &full());
        assert_eq!((&value["message"], &value["received"]), (&"pin=****".into(), &"pin=1234".into()));
        assert_eq!(value["timestamp"], "2023-11-14T22:13:20.123456789Z");
        assert_eq!(value["labels"], json!({ "host": "a", "job": "b" }));
        assert_eq!(value["fields"], json!({ "n": 1.5, "a\n": "x\ty" }));
        let letter = &value["dead_letter"];
        assert_eq!((&letter["id"], &letter["reason"]), (&7.into(), &"retries_spent".into()));
        assert_eq!(
            (&letter["status"], &letter["dead_at"]),
            (&500.into(), &"1970-01-01T00:00:02.000Z".into())
        );
    }

    #[test]
    fn a_text_that_is_not_utf8_is_there_whole() {
        let mut letter = full();
        letter.entry.replaced = Some(vec![b'a', 0xff]);
        let value = json(1, &letter);
        assert_eq!((&value["message"], &value["message_base64"]), (&"a\u{fffd}".into(), &"Yf8=".into()));
    }

    #[test]
    fn a_row_is_short_and_does_not_speak_to_the_terminal() {
        let mut letter = full();
        letter.entry.replaced = Some(format!("\x1b[31m{}", "x".repeat(100)).into());
        let row = row(7, &letter);
        assert_eq!((&*row[0], &*row[3], &*row[4]), ("7", "retries_spent 500", "1"));
        assert!(row[6].ends_with("...") && row[6].len() == SHOWN + 3 && !row[6].contains('\x1b'));
    }
}
