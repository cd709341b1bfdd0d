//! What an entry has under a name: a field or what is inside of it, a label, `message` or `source`, named as in conditions.

use super::subject::Subject;
use super::{ExprError, parser};
use crate::block::Block;
use crate::entry::Kind;

/// Names something that entries have.
#[derive(Clone, Debug)]
pub struct Name(Subject);

impl Name {
    /// Compiles a name as it stands first in a comparison: `level`, `user.id`, `labels.app`, `message`, `source`.
    pub fn compile(text: &str) -> Result<Self, ExprError> {
        parser::parse_subject(text).map(Name)
    }

    /// Shows `see` what the entry `index` of `block` has under the name: how it is to be read, and its text with escapes
    /// resolved. False if it has nothing there, or its escapes are malformed; then `see` is not called.
    pub fn see(&self, block: &Block, index: usize, mut see: impl FnMut(Kind, &[u8])) -> bool {
        let Some(value) = self.0.find(block, index) else { return false };
        value.reads(|text| {
            see(value.kind, text);
            true
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{Entry, Field};
    use crate::labels::{Labels, SourceId, Stream};
    use std::sync::Arc;

    #[test]
    fn a_name_leads_to_fields_labels_message_and_source() {
        let mut block = Block::new(4096);
        let stream = Stream::new(SourceId(0), "in".into(), "test", "o", Labels::new([("app", "shop")]));
        block.begin_run(&Arc::new(stream));
        let offset = block.append(b"hello").unwrap();
        block.push(Entry::at(offset, 5));
        block.reset_side();
        let [key, text, user, json] =
            [&b"level"[..], br"a\nb", b"user", br#"{"id":7}"#].map(|bytes| block.store(bytes).unwrap());
        block.set_field(0, Field::new(key, text, Kind::Escaped)).unwrap();
        block.set_field(0, Field::new(user, json, Kind::Json)).unwrap();
        let see = |name: &str| {
            let mut seen = None;
            let there = Name::compile(name).unwrap().see(&block, 0, |kind, text| {
                seen = Some((kind, String::from_utf8_lossy(text).into_owned()));
            });
            assert_eq!(there, seen.is_some());
            seen
        };
        let plain = |text: &str| Some((Kind::Plain, text.to_owned()));
        assert_eq!(see("level"), Some((Kind::Escaped, "a\nb".into())));
        assert_eq!(see("user.id"), Some((Kind::Number, "7".into())));
        assert_eq!([see("labels.app"), see("message"), see("source")], ["shop", "hello", "in"].map(plain));
        assert_eq!([see("labels.host"), see("user.name"), see("none")], [None, None, None]);
        for wrong in ["", "a b", "level == 1", "labels", "'text'"] {
            assert!(Name::compile(wrong).is_err(), "{wrong}");
        }
    }
}
