//! What Loki says when it takes a push but for some entries: status 400, and text for people.
//!
//! Read are the words of Loki's distributor and ingester (`pkg/validation/validate.go`, `pkg/ingester/stream.go`). Each
//! names one stream. Of several streams with refused entries the ingester names only the last.

use std::str::FromStr;

/// Most refusals that are read of one answer.
pub const REFUSALS_MAX: usize = 1000;

/// Entries of one stream that Loki did not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal<'a> {
    /// The stream's labels, as Loki writes them.
    pub stream: &'a str,
    /// Which of its entries.
    pub which: Which,
}

/// Which entries of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// So many of them; not said which.
    Some(u64),
    /// Those before this second since 1970-01-01 UTC.
    Before(i64),
    /// Those from this second on.
    From(i64),
    /// Those with lines of more bytes.
    Longer(u64),
    /// All.
    All,
}

/// What an answer refuses, in the order it says so; nothing if it says nothing that is known.
pub fn refusals(text: &str) -> Vec<Refusal<'_>> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = text[from..].find("stream") {
        let word = from + at;
        let rest = &text[word + "stream".len()..];
        from = word + "stream".len();
        let open = rest.find('{').filter(|open| [": ", " '", " "].contains(&&rest[..*open]));
        let Some(open) = open else { continue };
        let Some(len) = selector_len(&rest[open..]) else { continue };
        let (stream, behind) = rest[open..].split_at(len);
        if let Some(which) = which(&text[..word], behind) {
            found.push(Refusal { stream, which });
        }
        // What labels say is not searched.
        from += open + len;
        if found.len() == REFUSALS_MAX {
            break;
        }
    }
    found
}

/// The length of the label set at the start of `text`: quotes may hold braces.
fn selector_len(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'}' if !quoted => return Some(at + 1),
            _ => {}
        }
    }
    None
}

fn which(before: &str, behind: &str) -> Option<Which> {
    let behind = behind.strip_prefix('\'').unwrap_or(behind);
    if let Some(count) = ignored(before) {
        return Some(Which::Some(count));
    }
    if let Some(rest) = behind.strip_prefix(" has timestamp too old: ") {
        let (_, oldest) = rest.split_once("oldest acceptable timestamp is: ")?;
        return Some(Which::Before(seconds(oldest)?));
    }
    if let Some(rest) = behind.strip_prefix(" has timestamp too new: ") {
        return Some(Which::From(seconds(rest)?));
    }
    if behind.starts_with(" while adding an entry with length") {
        let (_, size) = before.rsplit_once("Max entry size '")?;
        return Some(Which::Longer(number(size)?));
    }
    let labels = [
        " label names; limit",
        " has label name too long",
        " has label value too long",
        " has duplicate label name",
    ];
    // The number of labels stands between.
    let first = &behind[..behind.floor_char_boundary(64)];
    labels.iter().any(|words| first.contains(words)).then_some(Which::All)
}

/// The `N` of `total ignored: N out of M for ` at the end of `before`.
fn ignored(before: &str) -> Option<u64> {
    let (head, all) = before.strip_suffix(" for ")?.rsplit_once(" out of ")?;
    let (_, count) = head.rsplit_once("total ignored: ")?;
    all.bytes().all(|byte| byte.is_ascii_digit()).then(|| u64::from_str(count).ok())?
}

fn number(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    text[..digits].parse().ok()
}

/// A time of RFC 3339 at the start of `text`, in seconds.
fn seconds(text: &str) -> Option<i64> {
    let letter = |c: char| c.is_ascii_digit() || "-+:.TZ".contains(c);
    let end = text.find(|c| !letter(c)).unwrap_or(text.len());
    let time: jiff::Timestamp = text[..end].trim_end_matches('.').parse().ok()?;
    Some(time.as_second())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(text: &str) -> Vec<(String, Which)> {
        refusals(text).into_iter().map(|refusal| (refusal.stream.to_string(), refusal.which)).collect()
    }

    fn one(stream: &str, which: Which) -> Vec<(String, Which)> {
        vec![(stream.into(), which)]
    }

    #[test]
    fn the_words_of_loki_are_understood() {
        let app = r#"{app="x"}"#;
        let ingester = "entry with timestamp 1970-01-01 00:00:00 +0000 UTC ignored, reason: 'entry too far behind, entry \
            timestamp is: 1970-01-01T00:00:00Z, oldest acceptable timestamp is: 2026-01-01T00:00:00Z',\n\
            user 'fake', total ignored: 3 out of 10 for stream: {app=\"x\"}\n";
        assert_eq!(found(ingester), one(app, Which::Some(3)));
        let old = r#"entry for stream '{app="x"}' has timestamp too old: 2020-01-01T00:00:00Z, oldest acceptable timestamp is: 2026-01-02T03:04:05Z"#;
        assert_eq!(found(old), one(app, Which::Before(1_767_323_045)));
        let new = r#"entry for stream '{app="x"}' has timestamp too new: 2026-01-02T03:04:05Z"#;
        assert_eq!(found(new), one(app, Which::From(1_767_323_045)));
        let long = r#"Max entry size '262144' bytes exceeded for stream '{app="x"}' while adding an entry with length '300000' bytes"#;
        assert_eq!(found(long), one(app, Which::Longer(262_144)));
        for labels in [
            r#"entry for stream '{app="x"}' has 16 label names; limit 15"#,
            r#"stream '{app="x"}' has label name too long: 'a'"#,
            r#"stream '{app="x"}' has label value too long: 'a'"#,
            r#"stream '{app="x"}' has duplicate label name: 'a'"#,
        ] {
            assert_eq!(found(labels), one(app, Which::All), "{labels}");
        }
    }

    #[test]
    fn several_are_read_and_what_labels_say_is_not() {
        let tricky = r#"{app="total ignored: 9 out of 9 for stream: {a=\"b\"}", x="}'"}"#;
        let text = format!(
            "2 errors: total ignored: 1 out of 2 for stream: {tricky}; total ignored: 4 out of 9 for stream: {{}}"
        );
        assert_eq!(found(&text), [(tricky.to_string(), Which::Some(1)), ("{}".into(), Which::Some(4))]);
    }

    #[test]
    fn anything_else_says_nothing() {
        for text in [
            "",
            "error at least one label pair is required per stream",
            "total ignored: many out of 3 for stream: {a=\"b\"}",
            "total ignored: 99999999999999999999 out of 3 for stream: {a=\"b\"}",
            "total ignored: 1 out of 2 for stream: {a=\"b\"",
            "entry for stream '{a=\"b\"}' has timestamp too old: x, oldest acceptable timestamp is: soon",
            "stream",
            "stream {",
            "stream é{}",
        ] {
            assert_eq!(found(text), [], "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_and_refusals_are_part_of_it(
            parts in proptest::collection::vec("(total ignored: |stream: |stream '|[0-9]{1,3}| out of | for |\\{a=\"|\"\\}|\\\\|'|\\PC{0,3}|2026-01-02T03:04:05Z)", 0..30),
        ) {
            let text = parts.concat();
            for refusal in refusals(&text) {
                let whole = refusal.stream.starts_with('{') && refusal.stream.ends_with('}');
                prop_assert!(whole && text.contains(refusal.stream));
            }
        }
    }
}
