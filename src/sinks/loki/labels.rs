//! What tells Loki streams apart: the tenant and the labels, made of patterns and brought under Loki's rules.
//!
//! Names are letters, digits and `_`; values are UTF-8 of at most [`VALUE_MAX`] bytes, and a label whose value is empty
//! does not exist. Labels beyond the budget go into the structured metadata of each entry.

use super::config::LokiSinkConfig;
use crate::block::EntryView;
use crate::expr::placeholders::Pattern;
use crate::labels::Stream;
use crate::sinks::client::Scope;
use crate::sinks::template::TemplateError;

/// Most bytes of a label's value: Loki's own limit.
pub const VALUE_MAX: usize = 2048;
/// Most bytes of a label's name: Loki's own limit.
pub const NAME_MAX: usize = 1024;
/// Most bytes of a tenant's name: Loki's own limit.
const TENANT_MAX: usize = 150;

/// How keys are made: patterns of the tenant and the labels.
pub(super) struct Labelling {
    tenant: Option<Pattern>,
    /// `None`: the source's name, and the labels of the stream.
    labels: Option<Vec<(String, Pattern)>>,
    max_labels: usize,
}

impl Labelling {
    pub(super) fn new(config: &LokiSinkConfig) -> Result<Self, TemplateError> {
        let tenant = config.tenant.as_deref().map(Pattern::compile).transpose()?;
        let compile = |(name, text): &(String, String)| Ok((name.clone(), Pattern::compile(text)?));
        let labels =
            config.labels.as_ref().map(|labels| labels.0.iter().map(compile).collect()).transpose()?;
        Ok(Labelling { tenant, labels, max_labels: config.max_labels })
    }

    pub(super) fn scope(&self) -> Scope {
        let patterns = self.labels.iter().flatten().map(|(_, pattern)| pattern).chain(&self.tenant);
        match patterns.into_iter().any(Pattern::is_per_entry) {
            true => Scope::Entry,
            false => Scope::Stream,
        }
    }

    /// Appends the key of `entry`, or of all of `stream`. Errors: there is no such tenant.
    pub(super) fn write(
        &self,
        stream: &Stream,
        entry: Option<EntryView<'_>>,
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        if let Some(tenant) = &self.tenant {
            let begin = out.len();
            tenant.write(stream, entry, out);
            check_tenant(&out[begin..])?;
        }
        out.push(b'\n');
        let count = out.len();
        out.push(0);
        let mut found = 0;
        match &self.labels {
            Some(labels) => {
                for (name, pattern) in labels {
                    found += usize::from(pair(name, out, |out| pattern.write(stream, entry, out)));
                }
            }
            None => {
                if stream.labels.get("source").is_none() {
                    let name = |out: &mut Vec<u8>| out.extend_from_slice(stream.source_name.as_bytes());
                    found += usize::from(pair("source", out, name));
                }
                for (name, value) in stream.labels.iter() {
                    found += usize::from(pair(name, out, |out| out.extend_from_slice(value.as_bytes())));
                }
            }
        }
        if found == 0 {
            // Loki takes no stream without a label.
            pair("source", out, |out| out.extend_from_slice(stream.source_name.as_bytes()));
            found = 1;
        }
        out[count] = found.min(self.max_labels) as u8;
        Ok(())
    }
}

/// Loki's rules for tenants. Nothing is mended: another name would be another tenant.
fn check_tenant(tenant: &[u8]) -> Result<(), String> {
    let letter = |byte: &u8| byte.is_ascii_alphanumeric() || b"!-_.*'()".contains(byte);
    match tenant {
        b"" => Err("it has no tenant".into()),
        b"." | b".." => Err("its tenant is a directory".into()),
        tenant if tenant.len() > TENANT_MAX => Err(format!("its tenant is over {TENANT_MAX} bytes")),
        tenant if !tenant.iter().all(letter) => {
            Err("its tenant has other characters than A-Z a-z 0-9 ! - _ . * ' ( )".into())
        }
        _ => Ok(()),
    }
}

/// Appends a name and what `value` writes; nothing, and false, if that is nothing.
fn pair(name: &str, out: &mut Vec<u8>, value: impl FnOnce(&mut Vec<u8>)) -> bool {
    let begin = out.len();
    out.extend_from_slice(&[0; 2]);
    write_name(name.as_bytes(), out);
    set_len(begin, out);
    let middle = out.len();
    out.extend_from_slice(&[0; 2]);
    value(out);
    fit_value(middle + 2, out);
    if out.len() == middle + 2 {
        out.truncate(begin);
        return false;
    }
    set_len(middle, out);
    true
}

/// Puts the length of what follows the two bytes at `at` into them.
fn set_len(at: usize, out: &mut [u8]) {
    let len = (out.len() - at - 2) as u16;
    out[at..at + 2].copy_from_slice(&len.to_le_bytes());
}

/// Appends `name` as the name of a label.
pub(super) fn write_name(name: &[u8], out: &mut Vec<u8>) {
    if name.first().is_none_or(u8::is_ascii_digit) {
        out.push(b'_');
    }
    let letter = |byte: &u8| if byte.is_ascii_alphanumeric() { *byte } else { b'_' };
    out.extend(name.iter().take(NAME_MAX - 1).map(letter));
}

/// Makes what stands from `begin` on UTF-8 of at most [`VALUE_MAX`] bytes.
fn fit_value(begin: usize, out: &mut Vec<u8>) {
    if let Err(error) = std::str::from_utf8(&out[begin..])
        && error.valid_up_to() < VALUE_MAX
    {
        let mended = String::from_utf8_lossy(&out[begin..]).into_owned();
        out.truncate(begin);
        out.extend_from_slice(mended.as_bytes());
    }
    if out.len() > begin + VALUE_MAX {
        let mut end = begin + VALUE_MAX;
        // Not within a character.
        while out[end] & 0xC0 == 0x80 {
            end -= 1;
        }
        out.truncate(end);
    }
}

/// A key, to be read.
#[derive(Clone, Copy)]
pub(super) struct Key<'a> {
    pub(super) tenant: &'a [u8],
    labels: usize,
    pairs: &'a [u8],
}

impl<'a> Key<'a> {
    /// What [`Labelling::write`] wrote.
    pub(super) fn read(key: &'a [u8]) -> Self {
        let end = memchr::memchr(b'\n', key).unwrap_or(key.len());
        let (tenant, rest) = key.split_at(end);
        let labels = rest.get(1).copied().unwrap_or(0).into();
        Key { tenant, labels, pairs: rest.get(2..).unwrap_or_default() }
    }

    /// The labels of its Loki stream.
    pub(super) fn labels(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        Pairs(self.pairs).take(self.labels)
    }

    /// What is beyond the budget of labels.
    pub(super) fn extra(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        Pairs(self.pairs).skip(self.labels)
    }

    /// All of it.
    pub(super) fn all(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        Pairs(self.pairs)
    }
}

struct Pairs<'a>(&'a [u8]);

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        Some((self.word()?, self.word()?))
    }
}

impl<'a> Pairs<'a> {
    fn word(&mut self) -> Option<&'a str> {
        let (len, rest) = self.0.split_first_chunk::<2>()?;
        let (word, rest) = rest.split_at_checked(u16::from_le_bytes(*len).into())?;
        self.0 = rest;
        std::str::from_utf8(word).ok()
    }
}

/// Appends labels as Loki itself writes them: `{app="x", env="y"}`, sorted by name, values as Go quotes them.
pub(super) fn write_selector<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>, out: &mut Vec<u8>) {
    let mut sorted: smallvec::SmallVec<[(&str, &str); 16]> = labels.collect();
    sorted.sort_unstable();
    out.push(b'{');
    for (at, (name, value)) in sorted.iter().enumerate() {
        if at > 0 {
            out.extend_from_slice(b", ");
        }
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"=\"");
        quote(value, out);
        out.push(b'"');
    }
    out.push(b'}');
}

fn quote(value: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for byte in value.bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..0x20 | 0x7f => {
                let hex = [b'\\', b'x', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
                out.extend_from_slice(&hex);
            }
            _ => out.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::testing::stream;
    use proptest::prelude::*;

    fn labelling(text: &str) -> Labelling {
        let config = format!("{{\"url\":\"http://h\",{text}}}");
        Labelling::new(&serde_json::from_str(&config).unwrap()).unwrap()
    }

    fn written(labelling: &Labelling, stream: &Stream) -> Vec<u8> {
        let mut key = Vec::new();
        labelling.write(stream, None, &mut key).unwrap();
        key
    }

    fn selector(key: &[u8]) -> String {
        let mut out = Vec::new();
        write_selector(Key::read(key).labels(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn labels_are_those_of_the_stream_unless_they_are_written() {
        let one = stream("app", "o", &[("env", "prod"), ("empty", ""), ("job", "a\"b\\c\n\u{1}é")]);
        let key = written(&labelling("\"max_labels\":15"), &one);
        assert_eq!(selector(&key), r#"{env="prod", job="a\"b\\c\n\x01é", source="app"}"#);
        let key = written(&labelling(r#""labels":{"z":"{labels.env}-1","a":"{labels.none}","b":"x"}"#), &one);
        assert_eq!(selector(&key), r#"{b="x", z="prod-1"}"#);
        let key = written(&labelling(r#""labels":{"a":"{labels.none}"}"#), &one);
        assert_eq!(selector(&key), r#"{source="app"}"#, "Loki takes no stream without a label");
        let named = stream("app", "o", &[("source", "its own")]);
        assert_eq!(selector(&written(&labelling("\"max_labels\":15"), &named)), r#"{source="its own"}"#);
    }

    #[test]
    fn labels_beyond_the_budget_are_extra() {
        let one = stream("app", "o", &[("a", "1"), ("b", "2"), ("c", "3")]);
        let key = written(&labelling("\"max_labels\":2"), &one);
        assert_eq!(selector(&key), r#"{a="1", source="app"}"#);
        assert_eq!(Key::read(&key).extra().collect::<Vec<_>>(), [("b", "2"), ("c", "3")]);
    }

    #[test]
    fn a_tenant_is_taken_as_it_is_or_not_at_all() {
        let tenant = |value: &str| {
            let (labelling, mut key) = (labelling(r#""tenant":"{labels.t}""#), Vec::new());
            let result = labelling.write(&stream("s", "o", &[("t", value)]), None, &mut key);
            result.map(|()| Key::read(&key).tenant.to_vec())
        };
        assert_eq!(tenant("team-1.a").unwrap(), b"team-1.a");
        for bad in ["", ".", "..", "../x", "a|b", "a\r\nX-Evil: 1", "a b", "é", &"a".repeat(151)] {
            assert!(tenant(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn whatever_labels_say_they_stay_under_the_rules(
            name in "[a-zA-Z_][a-zA-Z0-9_]{0,8}|\\PC{0,5}",
            value: Vec<u8>,
            long in "\\PC{0,800}",
        ) {
            let mut out = Vec::new();
            for bytes in [&value[..], long.as_bytes(), long.repeat(4).as_bytes()] {
                pair(&name, &mut out, |out| out.extend_from_slice(bytes));
            }
            for (name, value) in Pairs(&out) {
                prop_assert!(value.len() <= VALUE_MAX && !value.is_empty());
                prop_assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
                prop_assert!(!name.as_bytes()[0].is_ascii_digit());
            }
            let expected = [value.is_empty(), long.is_empty(), long.is_empty()].iter().filter(|empty| !**empty).count();
            prop_assert_eq!(Pairs(&out).count(), expected);
            let mut selector = Vec::new();
            write_selector(Pairs(&out), &mut selector);
            prop_assert!(selector.iter().all(|byte| *byte >= b' ' && *byte != 0x7f));
        }
    }
}
