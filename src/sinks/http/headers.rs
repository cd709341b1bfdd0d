//! The headers of requests: fixed ones, and those made of what entries say.
//!
//! A value never begins another header (S02): of what a placeholder stands for, only printable ASCII remains as it is.

use crate::block::EntryView;
use crate::expr::placeholders::Pattern;
use crate::labels::Stream;
use crate::sinks::client::{Keys, Place, Scope};
use crate::sinks::template::TemplateError;
use ureq::http::{HeaderName, HeaderValue};

/// Most bytes of a value that entries have a part in.
const VALUE_MAX: usize = 1024;

/// Whether the header of this name is likely to hold a credential.
pub(super) fn is_secret(name: &HeaderName) -> bool {
    ["auth", "key", "token", "secret", "cookie", "password", "signature", "credential"]
        .iter()
        .any(|word| name.as_str().contains(word))
}

/// The headers of every request, and the keys that sort entries by them.
pub(super) struct Headers {
    fixed: Vec<(HeaderName, HeaderValue)>,
    made: Vec<(HeaderName, Pattern)>,
    scope: Scope,
}

impl Headers {
    /// Headers that are written; a value that looks like a credential is taken as it stands.
    pub(super) fn new<'a>(
        written: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, TemplateError> {
        let (mut fixed, mut made) = (Vec::new(), Vec::new());
        for (name, text) in written {
            let wrong = |what: &str| TemplateError {
                message: format!("the header `{name}`: {what}"),
                start: 0,
                len: 0,
            };
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong("no such name"))?;
            let secret = is_secret(&name);
            match Pattern::compile(text) {
                Ok(pattern) if !pattern.is_fixed() && !secret => made.push((name, pattern)),
                Err(error) if !secret => return Err(error),
                compiled => {
                    let mut value = text.as_bytes().to_vec();
                    if let Ok(pattern) = compiled.as_ref()
                        && !secret
                    {
                        value = fixed_value(pattern);
                    }
                    let mut value = HeaderValue::from_bytes(&value).map_err(|_| wrong("no such value"))?;
                    value.set_sensitive(secret);
                    fixed.push((name, value));
                }
            }
        }
        let scope = match () {
            () if made.is_empty() => Scope::Batch,
            () if made.iter().any(|(_, pattern)| pattern.is_per_entry()) => Scope::Entry,
            () => Scope::Stream,
        };
        Ok(Headers { fixed, made, scope })
    }

    /// Whether `name` is among them.
    pub(super) fn has(&self, name: &HeaderName) -> bool {
        let names = self.fixed.iter().map(|(name, _)| name).chain(self.made.iter().map(|(name, _)| name));
        names.into_iter().any(|known| known == name)
    }

    /// Puts the headers of the group with this key into `out`.
    pub(super) fn put(&self, key: &[u8], out: &mut Vec<(HeaderName, HeaderValue)>) {
        out.extend(self.fixed.iter().cloned());
        for ((name, _), value) in self.made.iter().zip(key.split(|byte| *byte == b'\n')) {
            // An empty value is no value.
            if let Ok(value) = HeaderValue::from_bytes(value)
                && !value.is_empty()
            {
                out.push((name.clone(), value));
            }
        }
    }
}

fn fixed_value(pattern: &Pattern) -> Vec<u8> {
    let mut value = Vec::new();
    let nobody = Stream::new(crate::labels::SourceId(0), "".into(), "", "", Default::default());
    pattern.write(&nobody, None, &mut value);
    value
}

/// Sorts entries by their headers.
pub(super) struct ByHeaders<'a>(pub(super) &'a Headers);

impl Keys for ByHeaders<'_> {
    fn scope(&self) -> Scope {
        self.0.scope
    }

    fn write(&self, stream: &Stream, entry: Option<EntryView<'_>>, out: &mut Vec<u8>) -> Result<(), String> {
        for (at, (_, pattern)) in self.0.made.iter().enumerate() {
            if at > 0 {
                out.push(b'\n');
            }
            let begin = out.len();
            pattern.write(stream, entry, out);
            sanitise(begin, out);
        }
        Ok(())
    }

    fn place(&mut self, group: u32, _: &[u8]) -> Place {
        Place { request: group, section: 0 }
    }
}

/// Makes what stands from `begin` on a header's value: printable ASCII, no blanks around it, not too long.
fn sanitise(begin: usize, out: &mut Vec<u8>) {
    out.truncate(begin + VALUE_MAX);
    for byte in &mut out[begin..] {
        if !(b' '..=b'~').contains(byte) {
            *byte = b'_';
        }
    }
    let blanks = out[begin..].iter().take_while(|byte| **byte == b' ').count();
    out.drain(begin..begin + blanks);
    while out.len() > begin && out.last() == Some(&b' ') {
        out.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::testing::stream;
    use proptest::prelude::*;

    fn put(headers: &[(&str, &str)], stream: &Stream) -> Vec<(String, String)> {
        let headers = Headers::new(headers.iter().copied()).unwrap();
        let (mut key, mut out) = (Vec::new(), Vec::new());
        ByHeaders(&headers).write(stream, None, &mut key).unwrap();
        headers.put(&key, &mut out);
        out.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().into())).collect()
    }

    #[test]
    fn fixed_headers_made_ones_and_credentials_stand_side_by_side() {
        let one = stream("app", "o", &[("team", "  red \r\nX-Evil: 1 ")]);
        let headers = [
            ("X-Team", "t:{labels.team}"),
            ("X-None", "{labels.none}"),
            ("X-Api-Key", "a{b"),
            ("X-Plain", "p q"),
        ];
        let expected = [("x-api-key", "a{b"), ("x-plain", "p q"), ("x-team", "t:  red __X-Evil: 1")];
        assert_eq!(put(&headers, &one), expected.map(|(name, value)| (name.to_string(), value.to_string())));
        assert!(Headers::new([("X-Team", "{sorce}")]).is_err());
    }

    proptest! {
        #[test]
        fn no_value_begins_another_header(origin in "\\PC*|[\\x00-\\x20a:]{0,30}", label in "[\\r\\n\\x00a ]{0,2000}") {
            let one = stream("s", &origin, &[("l", &label)]);
            let put = put(&[("a", "{origin}{labels.l}"), ("b", "{labels.l}!")], &one);
            prop_assert!(put.len() <= 2);
            for (_, value) in put {
                prop_assert!(value.len() <= VALUE_MAX && value.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            }
        }
    }
}
