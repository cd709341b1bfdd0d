//! The labels of a Loki stream, read from what its body writes: once per new set, not per entry.

use super::Why;
use super::metadata::members;
use crate::entry::{Kind, unescape};

/// The labels of a stream, as its body writes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabelText<'b> {
    /// A valid JSON object.
    Json(&'b [u8]),
    /// `{name="value", ...}`, not yet checked.
    Written(&'b [u8]),
}

/// Longest name of a label, in bytes (Loki's own default).
pub const NAME_MAX: usize = 1024;
/// Longest value of a label, in bytes (Loki's own default).
pub const VALUE_MAX: usize = 2048;

/// A name and its value.
pub type Label = (String, String);

impl LabelText<'_> {
    /// As it is written.
    pub fn bytes(&self) -> &[u8] {
        match self {
            LabelText::Json(bytes) | LabelText::Written(bytes) => bytes,
        }
    }

    /// The labels, at most `count_max`, in the order they are written. None of them is empty of name, or there twice.
    ///
    /// Errors: what is wrong with them.
    pub fn read(&self, count_max: usize) -> Result<Vec<Label>, Why> {
        let mut labels = Vec::new();
        match self {
            LabelText::Json(object) => {
                members(object, |((name, name_escaped), value, kind)| {
                    if kind == Kind::Json {
                        return Err(Why::Says("a label whose value is not a string"));
                    }
                    let name = text(name, name_escaped)?;
                    add(&mut labels, name, text(value, kind == Kind::Escaped)?, count_max)
                })?;
            }
            LabelText::Written(written) => {
                let written =
                    std::str::from_utf8(written).map_err(|_| Why::Says("labels that are not UTF-8"))?;
                let mut rest = written.trim().strip_prefix('{').ok_or(FORM)?.trim_start();
                while !rest.starts_with('}') {
                    let (name, after) = rest.split_once('=').ok_or(FORM)?;
                    let (value, after) = quoted(after.trim_start())?;
                    add(&mut labels, name.trim_end().to_string(), value, count_max)?;
                    let after = after.trim_start();
                    rest = match after.strip_prefix(',') {
                        Some(more) => more.trim_start(),
                        None if after.starts_with('}') => after,
                        None => return Err(FORM),
                    };
                }
                if rest != "}" {
                    return Err(FORM);
                }
            }
        }
        Ok(labels)
    }
}

const FORM: Why = Why::Says("labels are not written as {name=\"value\", ...}");
const ESCAPE: Why = Why::Says("a label value with a malformed escape");

fn add(labels: &mut Vec<Label>, name: String, value: String, count_max: usize) -> Result<(), Why> {
    let mut bytes = name.bytes();
    let is_name =
        bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || matches!(first, b'_' | b':'))
            && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':'));
    match () {
        () if !is_name => Err(Why::Says("a label name that is not [a-zA-Z_:][a-zA-Z0-9_:]*")),
        () if name.len() > NAME_MAX => Err(Why::Says("a label name of more than 1024 bytes")),
        () if value.len() > VALUE_MAX => Err(Why::Says("a label value of more than 2048 bytes")),
        () if labels.len() == count_max => Err(Why::Says("more labels than a stream may have")),
        () if labels.iter().any(|(known, _)| *known == name) => Err(Why::Says("a label twice")),
        () => {
            labels.push((name, value));
            Ok(())
        }
    }
}

fn text(raw: &[u8], escaped: bool) -> Result<String, Why> {
    let bytes = if escaped { unescape(raw).ok_or(ESCAPE)? } else { raw.to_vec() };
    String::from_utf8(bytes).map_err(|_| Why::Says("labels that are not UTF-8"))
}

/// Reads a string in double quotes with the escapes of Go, in which Loki's clients write them: what it says, and what
/// follows it.
fn quoted(text: &str) -> Result<(String, &str), Why> {
    let mut rest = text.strip_prefix('"').ok_or(FORM)?;
    let mut bytes = Vec::new();
    loop {
        let stop = rest.find(['"', '\\', '\n']).ok_or(FORM)?;
        bytes.extend_from_slice(&rest.as_bytes()[..stop]);
        let (what, after) = (rest.as_bytes()[stop], &rest[stop + 1..]);
        match what {
            b'"' => {
                let value = String::from_utf8(bytes).map_err(|_| Why::Says("labels that are not UTF-8"))?;
                return Ok((value, after));
            }
            b'\\' => rest = escape(after, &mut bytes).ok_or(ESCAPE)?,
            _ => return Err(FORM),
        }
    }
}

/// Resolves what stands behind a backslash, and gives what follows it (Go's language specification, "Rune literals").
fn escape<'t>(text: &'t str, out: &mut Vec<u8>) -> Option<&'t str> {
    let number = |from: usize, digits: usize, radix: u32| {
        let digits = text.get(from..from + digits)?;
        let all = digits.chars().all(|digit| digit.is_digit(radix));
        Some((u32::from_str_radix(digits, radix).ok().filter(|_| all)?, from + digits.len()))
    };
    let simple = match *text.as_bytes().first()? {
        b'a' => 7,
        b'b' => 8,
        b'f' => 12,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 11,
        same @ (b'\\' | b'"' | b'\'') => same,
        kind => {
            let (value, used) = match kind {
                b'x' => number(1, 2, 16)?,
                b'0'..=b'7' => number(0, 3, 8)?,
                b'u' => number(1, 4, 16)?,
                b'U' => number(1, 8, 16)?,
                _ => return None,
            };
            if matches!(kind, b'u' | b'U') {
                out.extend_from_slice(char::from_u32(value)?.encode_utf8(&mut [0; 4]).as_bytes());
            } else {
                out.push(u8::try_from(value).ok()?);
            }
            return text.get(used..);
        }
    };
    out.push(simple);
    text.get(1..)
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Vec<(String, String)>, String> {
        LabelText::Written(text.as_bytes()).read(3).map_err(|why| why.to_string())
    }

    #[test]
    fn labels_are_read_as_loki_s_clients_write_them() {
        let pairs = |pairs: &[(&str, &str)]| {
            Ok(pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect())
        };
        assert_eq!(read("{}"), pairs(&[]));
        assert_eq!(read(r#"{app="x"}"#), pairs(&[("app", "x")]));
        assert_eq!(read(r#" { a = "1" , _b="", } "#), pairs(&[("a", "1"), ("_b", "")]));
        assert_eq!(
            read(r#"{a="q\"\\\n\t\x41\101\u00e9\U0001F600\a\v\xc3\xa9"}"#),
            pairs(&[("a", "q\"\\\n\tAA\u{e9}\u{1f600}\u{7}\u{b}\u{e9}")])
        );
    }

    #[test]
    fn labels_that_are_none_are_refused_in_words() {
        for (text, says) in [
            ("", "labels are not written as"),
            ("a=\"b\"", "labels are not written as"),
            ("{", "labels are not written as"),
            ("{a}", "labels are not written as"),
            ("{a=b}", "labels are not written as"),
            ("{a='b'}", "labels are not written as"),
            ("{a=\"b}", "labels are not written as"),
            ("{a=\"b\nc\"}", "labels are not written as"),
            ("{a=\"b\" c=\"d\"}", "labels are not written as"),
            ("{a=\"b\"}x", "labels are not written as"),
            ("{,}", "labels are not written as"),
            ("{a!=\"b\"}", "a label name that is not"),
            ("{=\"b\"}", "a label name that is not"),
            ("{0a=\"b\"}", "a label name that is not"),
            ("{a.b=\"b\"}", "a label name that is not"),
            ("{a=\"b\",a=\"c\"}", "a label twice"),
            ("{a=\"\",b=\"\",c=\"\",d=\"\"}", "more labels than"),
            (r#"{a="\q"}"#, "a malformed escape"),
            (r#"{a="\u12"}"#, "a malformed escape"),
            (r#"{a="\ud800"}"#, "a malformed escape"),
            (r#"{a="\777"}"#, "a malformed escape"),
            (r#"{a="\x+1"}"#, "a malformed escape"),
            (r#"{a="\xff"}"#, "not UTF-8"),
        ] {
            let told = read(text).unwrap_err();
            assert!(told.contains(says), "{text}: {told}");
        }
        let long =
            |name: usize, value: usize| read(&format!("{{{}=\"{}\"}}", "n".repeat(name), "v".repeat(value)));
        assert!(long(1024, 2048).is_ok());
        assert!(long(1025, 0).unwrap_err().contains("name of more than 1024"));
        assert!(long(1, 2049).unwrap_err().contains("value of more than 2048"));
        assert!(LabelText::Written(b"{a=\"\xff\"}").read(9).is_err());
    }

    #[test]
    fn labels_in_json_are_strings() {
        let read = |text: &str| LabelText::Json(text.as_bytes()).read(9).map_err(|why| why.to_string());
        assert_eq!(
            read(r#" { "a" : "x" , "b":"\u00e9\n" } "#.trim()),
            Ok(vec![("a".into(), "x".into()), ("b".into(), "\u{e9}\n".into())])
        );
        assert_eq!(read("{}"), Ok(vec![]));
        assert!(read(r#"{"a":1}"#).unwrap_err().contains("not a string"));
        assert!(read(r#"{"a":{"b":"c"}}"#).unwrap_err().contains("not a string"));
        assert!(read(r#"{"a b":"c"}"#).unwrap_err().contains("a label name that is not"));
        assert!(read(r#"{"a":"","a":""}"#).unwrap_err().contains("twice"));
    }

    proptest! {
        #[test]
        fn what_a_client_quotes_is_read_back(values in prop::collection::vec(any::<String>(), 0..4)) {
            // As Go's strconv.Quote does it, near enough: escapes for quotes, backslashes and what is not printable.
            let quote = |text: &String| text.chars().map(|letter| match letter {
                '"' => "\\\"".to_string(),
                '\\' => "\\\\".to_string(),
                '\n' => "\\n".to_string(),
                control if (control as u32) < 0x20 => format!("\\x{:02x}", control as u32),
                wide if wide as u32 > 0xffff => format!("\\U{:08x}", wide as u32),
                other => other.to_string(),
            }).collect::<String>();
            let written: Vec<_> = values.iter().enumerate().map(|(at, text)| format!("l{at}=\"{}\"", quote(text))).collect();
            let read = LabelText::Written(format!("{{{}}}", written.join(", ")).as_bytes()).read(9).unwrap();
            prop_assert_eq!(read.into_iter().map(|(_, value)| value).collect::<Vec<_>>(), values);
        }

        #[test]
        fn no_text_is_too_odd(text in "[{}a=\"\\\\,u0 x\n]{0,30}") {
            let _ = read(&text);
        }
    }
}
