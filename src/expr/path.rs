//! Into the value of a field: a walk over JSON as it was written, without making a tree of it.
//!
//! Fields hold objects and arrays as raw text. A path is followed by skipping over what is not on it; of equal keys the
//! last one counts, as everywhere. Nothing recurses, so depth costs nothing, and any bytes are walked without harm.

use super::value::Value;
use crate::entry::{Kind, reads_as};

/// One step into a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// The member of an object with this name.
    Member(Box<str>),
    /// The item of an array at this place, from 0.
    Item(usize),
}

/// The value that `path` leads to inside of `value`, if there is one.
pub fn follow<'a>(value: Value<'a>, path: &[Part]) -> Option<Value<'a>> {
    path.iter().try_fold(value, |value, part| {
        if value.kind != Kind::Json {
            return None;
        }
        match part {
            Part::Member(name) => member(value.raw, name.as_bytes()),
            Part::Item(index) => item(value.raw, *index),
        }
    })
}

fn member<'a>(raw: &'a [u8], name: &[u8]) -> Option<Value<'a>> {
    let mut rest = trim(raw.strip_prefix(b"{")?);
    let mut found = None;
    while let Some(inside) = rest.strip_prefix(b"\"") {
        let key = string(inside)?;
        rest = trim(trim(&inside[key.len() + 1..]).strip_prefix(b":")?);
        let value = &rest[..skip(rest)?];
        // Without escapes this compares the bytes; the length tells most apart before.
        if key.len() >= name.len() && reads_as(key, name) {
            found = Some(value);
        }
        rest = trim(&rest[value.len()..]);
        rest = rest.strip_prefix(b",").map_or(&rest[..0], trim);
    }
    found.map(typed)
}

fn item(raw: &[u8], index: usize) -> Option<Value<'_>> {
    let mut rest = trim(raw.strip_prefix(b"[")?);
    for _ in 0..index {
        rest = trim(trim(&rest[skip(rest)?..]).strip_prefix(b",")?);
    }
    let value = &rest[..skip(rest)?];
    (!value.is_empty()).then(|| typed(value))
}

/// A value with what it is, which its first byte tells.
fn typed(raw: &[u8]) -> Value<'_> {
    match raw {
        [b'"', inside @ .., b'"'] => {
            let escaped = memchr::memchr(b'\\', inside).is_some();
            Value { kind: if escaped { Kind::Escaped } else { Kind::Plain }, raw: inside }
        }
        [b'{' | b'[', ..] => Value { kind: Kind::Json, raw },
        [b't' | b'f', ..] => Value { kind: Kind::Bool, raw },
        [b'n', ..] => Value { kind: Kind::Null, raw },
        _ => Value { kind: Kind::Number, raw },
    }
}

/// Without the white space of JSON at its start.
pub fn trim(text: &[u8]) -> &[u8] {
    match text.first() {
        Some(b' ' | b'\t' | b'\n' | b'\r') => text.trim_ascii_start(),
        _ => text,
    }
}

/// The inside of the string whose opening quote stands before `text`.
pub fn string(text: &[u8]) -> Option<&[u8]> {
    let mut at = 0;
    loop {
        at += memchr::memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(&text[..at]);
        }
        at += 2;
    }
}

/// How long the value is that `text` begins with; 0 where there is none.
pub fn skip(text: &[u8]) -> Option<usize> {
    match text.first() {
        Some(b'"') => Some(string(&text[1..])?.len() + 2),
        Some(b'{' | b'[') => container(text),
        _ => {
            let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r');
            Some(text.iter().position(ends).unwrap_or(text.len()))
        }
    }
}

/// How long the object or array is that `text` begins with.
fn container(text: &[u8]) -> Option<usize> {
    let (mut at, mut depth) = (0, 0_usize);
    loop {
        match text.get(at)? {
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth == 1 => return Some(at + 1),
            b'}' | b']' => depth -= 1,
            b'"' => at += string(&text[at + 1..])?.len() + 1,
            _ => {}
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value as Json;

    fn walk(raw: &[u8], path: &[Part]) -> Option<(Kind, String)> {
        let value = follow(Value { kind: Kind::Json, raw }, path)?;
        Some((value.kind, String::from_utf8_lossy(value.raw).into_owned()))
    }

    fn path(text: &str) -> Vec<Part> {
        let part = |part: &str| match part.parse() {
            Ok(index) => Part::Item(index),
            Err(_) => Part::Member(part.into()),
        };
        text.split('.').map(part).collect()
    }

    #[test]
    fn a_path_leads_to_the_last_of_equal_keys_with_its_kind() {
        let raw = br#" {"a": {"b" : [1, {"c":"x\"]}"}, [ ], "y" ] , "b\u0062":true}, "n":null, "a" : {"b":[10 , {"c":"z\\"}]}}"#;
        let raw = raw.trim_ascii();
        let rows = [
            ("a.b.0", Some((Kind::Number, "10"))),
            ("a.b.1", Some((Kind::Json, r#"{"c":"z\\"}"#))),
            ("a.b.1.c", Some((Kind::Escaped, r"z\\"))),
            ("a.b.2", None),
            ("a.bb", None),
            ("n", Some((Kind::Null, "null"))),
            ("n.x", None),
            ("a.0", None),
            ("b", None),
        ];
        for (at, expected) in rows {
            assert_eq!(walk(raw, &path(at)), expected.map(|(kind, raw)| (kind, raw.to_owned())), "{at}");
        }
        assert_eq!(walk(b"[]", &path("0")), None);
        assert_eq!(walk(b"[1]", &path("1")), None);
        assert_eq!(walk(br#"{"b\u0062":true}"#, &path("bb")), Some((Kind::Bool, "true".into())));
    }

    fn json() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            any::<i32>().prop_map(Json::from),
            any::<bool>().prop_map(Json::from),
            Just(Json::Null),
            "[a-c\"\\\\{}\\[\\],: é]{0,4}".prop_map(Json::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            let key = "[ab\"\\\\]{1,2}";
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
                prop::collection::vec((key, inner), 0..4)
                    .prop_map(|all| Json::Object(all.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_walk_finds_what_the_tree_has(tree in json(), pretty: bool, steps in prop::collection::vec((0..3_usize, "[ab\"\\\\]{1,2}"), 1..4)) {
            let raw = if pretty { serde_json::to_string_pretty(&tree) } else { serde_json::to_string(&tree) }.unwrap();
            let (mut at, mut path) = (Some(&tree), Vec::new());
            for (index, name) in &steps {
                // Mostly along what is there.
                let first = at.and_then(Json::as_object).and_then(|object| object.keys().nth(*index));
                path.push(match at {
                    Some(Json::Array(_)) => Part::Item(*index),
                    _ => Part::Member(first.unwrap_or(name).as_str().into()),
                });
                at = match &path[path.len() - 1] {
                    Part::Item(index) => at.and_then(|at| at.get(index)),
                    Part::Member(name) => at.and_then(|at| at.get(&**name)),
                };
            }
            prop_assume!(tree.is_object() || tree.is_array());
            let found = walk(raw.as_bytes(), &path);
            let written = found.as_ref().map(|(kind, raw)| match kind {
                Kind::Plain | Kind::Escaped => format!("\"{raw}\""),
                _ => raw.clone(),
            });
            let read = written.map(|written| serde_json::from_str::<Json>(&written).unwrap());
            prop_assert_eq!(read.as_ref(), at);
        }

        #[test]
        fn any_bytes_are_walked_without_harm(raw in "[{}\\[\\]\",:\\\\a1 ]{0,24}", steps in prop::collection::vec(0..3_usize, 0..3)) {
            let path: Vec<Part> = steps.iter().map(|step| match step {
                0 => Part::Item(0),
                1 => Part::Item(1),
                _ => Part::Member("a".into()),
            }).collect();
            let _ = walk(raw.as_bytes(), &path);
        }
    }
}
