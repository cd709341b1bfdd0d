//! Entries of bodies into blocks: the one copy, with escapes resolved on the way.

use super::{Full, Item, Text};
use crate::block::Block;
use crate::entry::{Entry, before_escape, unicode_escape};
use crate::labels::Stream;
use std::sync::Arc;

/// How many bytes of text the block must have room for, to take the entry cut to `text_max`.
pub fn room(item: &Item<'_>, text_max: usize) -> usize {
    // A newline stands behind each, so that sinks can write spans of lines.
    item.text.written_len().min(text_max) + 1
}

/// Whether the block has room for the entry as one of `stream`. An empty one with [`room`] for its text always has.
pub fn fits(block: &Block, stream: &Arc<Stream>, item: &Item<'_>, text_max: usize) -> bool {
    let metadata = &item.metadata;
    block.capacity() - block.text().len() >= room(item, text_max)
        && block.has_room_for_run(stream)
        && (metadata.pairs == 0 || block.has_room_to_give(metadata.pairs, metadata.bytes))
}

/// Copies the entry behind the block's others, as one of `stream`. A text of more than `text_max` bytes is cut there and
/// marked; says whether it was.
///
/// Errors: it does not [fit](fits); nothing of it was copied.
pub fn put(block: &mut Block, stream: &Arc<Stream>, item: &Item<'_>, text_max: usize) -> Result<bool, Full> {
    if !fits(block, stream, item, text_max) {
        return Err(Full);
    }
    let offset = block.text().len() as u32;
    let (len, cut) = match item.text {
        Text::Plain(bytes) => {
            let len = bytes.len().min(text_max);
            block.spare()[..len].copy_from_slice(&bytes[..len]);
            (len, len < bytes.len())
        }
        Text::Escaped(inside) => {
            let room = inside.len().min(text_max);
            unescape_into(inside, &mut block.spare()[..room])
        }
    };
    block.spare()[len] = b'\n';
    block.grow(len + 1);
    let own_time = if item.time.is_some() { Entry::OWN_TIME } else { 0 };
    let flags = own_time | if cut { Entry::CUT } else { 0 };
    block.begin_run(stream);
    block.push(Entry { time: item.time.unwrap_or(0), flags, ..Entry::at(offset, len as u32) });
    item.metadata.each(|(name, value, kind)| {
        block.give(name, value, kind);
        Ok(())
    })?;
    Ok(cut)
}

/// What a backslash and this byte stand for where that is one byte; zero where it is not.
const SHORT: [u8; 256] = {
    let mut short = [0; 256];
    let pairs = [*b"\"\"", *b"\\\\", *b"//", *b"b\x08", *b"f\x0c", *b"n\n", *b"r\r", *b"t\t"];
    let mut at = 0;
    while at < pairs.len() {
        let [written, meant] = pairs[at];
        short[written as usize] = meant;
        at += 1;
    }
    short
};

/// Resolves the escapes of a valid JSON string's inside. Gives how many bytes that made, and whether `out` had no room
/// for all of it; no letter is split for that.
fn unescape_into(inside: &[u8], out: &mut [u8]) -> (usize, bool) {
    let (mut rest, mut len) = (inside, 0);
    loop {
        // Eight bytes at a time; those from the escape on are written over by what comes next. JSON in a string has an
        // escape every few bytes: a search and a copy for each piece between them cost more (BENCHMARKS.md, `bodies`).
        while let Some(word) = rest.first_chunk::<8>()
            && let Some(to) = out.get_mut(len..).and_then(|out| out.first_chunk_mut::<8>())
        {
            *to = *word;
            let plain = before_escape(word);
            (rest, len) = (&rest[plain..], len + plain);
            if plain == 8 {
                continue;
            }
            let meant = rest.get(1).map_or(0, |next| SHORT[usize::from(*next)]);
            if meant == 0 || len == out.len() {
                break;
            }
            out[len] = meant;
            (rest, len) = (&rest[2..], len + 1);
        }
        let Some(first) = rest.first() else { return (len, false) };
        let mut letter = [0; 4];
        let (bytes, used) = match (first, rest.get(1)) {
            (b'\\', Some(b'u')) => match unicode_escape(rest) {
                Some((resolved, used)) => (resolved.encode_utf8(&mut letter).as_bytes(), used),
                None => (&b"\\"[..], 1),
            },
            (b'\\', Some(next)) => match SHORT[usize::from(*next)] {
                0 => (&rest[1..2], 2),
                meant => {
                    letter[0] = meant;
                    (&letter[..1], 2)
                }
            },
            _ => (&rest[..1], 1),
        };
        if bytes.len() > out.len() - len {
            return (len, true);
        }
        out[len..len + bytes.len()].copy_from_slice(bytes);
        (rest, len) = (&rest[used..], len + bytes.len());
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::super::Metadata;
    use super::*;
    use crate::labels::{Labels, SourceId};
    use proptest::prelude::*;

    fn stream() -> Arc<Stream> {
        Arc::new(Stream::new(SourceId(0), "s".into(), "test", "o", Labels::default()))
    }

    fn item(text: Text<'_>) -> Item<'_> {
        Item { text, time: Some(7), metadata: Metadata::default() }
    }

    #[test]
    fn an_entry_stands_in_the_block_with_all_it_came_with() {
        let mut block = Block::new(4096);
        let metadata = Metadata::json(br#"{"trace":"1\n","pod\t":"x"}"#).unwrap();
        let plain = Item { time: None, metadata, ..item(Text::Plain(b"one")) };
        put(&mut block, &stream(), &plain, 99).unwrap();
        put(&mut block, &stream(), &item(Text::Escaped(br"t\two")), 99).unwrap();
        block.stamp(1000);
        block.reset_side();
        assert_eq!(block.text(), b"one\nt\two\n");
        let (one, two) = (block.view(0), block.view(1));
        assert_eq!((one.text(), one.time(), two.text(), two.time()), (&b"one"[..], 1000, &b"t\two"[..], 7));
        assert_eq!(&*one.field(b"trace").unwrap().text(), b"1\n");
        assert_eq!(&*one.field(b"pod\t").unwrap().text(), b"x");
        assert_eq!(two.fields().count(), 0);
    }

    #[test]
    fn what_is_too_long_is_cut_and_marked_and_what_does_not_fit_is_not_touched() {
        let mut block = Block::new(4096);
        for (text, left, cut) in [
            (Text::Plain(b"abcd"), &b"abcd"[..], false),
            (Text::Plain(b"abcde"), b"abcd", true),
            (Text::Escaped(br"\n\n\n\n"), b"\n\n\n\n", false),
            (Text::Escaped(br"\n\n\n\n\n"), b"\n\n\n\n", true),
            (Text::Escaped(br"ab\ud83d\ude00"), b"ab", true),
        ] {
            let at = block.entries().len();
            assert_eq!(put(&mut block, &stream(), &item(text), 4), Ok(cut));
            let marked = block.entries()[at].flags & Entry::CUT != 0;
            assert_eq!((block.view(at).text(), marked), (left, cut));
        }
        let before = (block.entries().len(), block.text().len());
        let large = vec![b'x'; 4096];
        assert_eq!(put(&mut block, &stream(), &item(Text::Plain(&large)), 1 << 20), Err(Full));
        assert_eq!((block.entries().len(), block.text().len()), before);
        let pairs = format!("{{\"k\":\"{}\"}}", "v".repeat(4000));
        let mut rich = item(Text::Plain(b""));
        rich.metadata = Metadata::json(pairs.as_bytes()).unwrap();
        assert_eq!(put(&mut block, &stream(), &rich, 9), Ok(false));
        assert_eq!(put(&mut block, &stream(), &rich, 9), Err(Full), "metadata has bounds, too");
        let labels = Labels::new([("a", "v".repeat(4000))]);
        let large = Arc::new(Stream::new(SourceId(0), "s".into(), "test", "o", labels));
        assert_eq!(put(&mut Block::new(4096), &large, &item(Text::Plain(b"")), 9), Ok(false));
        put(&mut block, &large, &item(Text::Plain(b"")), 9).unwrap();
        put(&mut block, &large, &item(Text::Plain(b"")), 9).unwrap();
        put(&mut block, &stream(), &item(Text::Plain(b"")), 9).unwrap();
        assert_eq!(put(&mut block, &large, &item(Text::Plain(b"")), 9), Err(Full), "and so have labels");
        block.truncate(before.0 + 1);
        assert_eq!(block.entries().len(), before.0 + 1);
    }

    proptest! {
        #[test]
        fn strings_become_what_serde_json_makes_of_them(text: String, room in 0_usize..40) {
            let written = serde_json::to_string(&text).unwrap();
            let inside = &written.as_bytes()[1..written.len() - 1];
            let mut all = vec![0; inside.len()];
            prop_assert_eq!(unescape_into(inside, &mut all), (text.len(), false));
            prop_assert_eq!(&all[..text.len()], text.as_bytes());
            let mut some = vec![0; room];
            let (len, cut) = unescape_into(inside, &mut some);
            prop_assert!(text.as_bytes().starts_with(&some[..len]));
            prop_assert_eq!(cut, len < text.len());
        }

        #[test]
        fn no_inside_is_too_odd(inside in "[\\\\ua0d8\"n]{0,20}", room in 0_usize..20) {
            let mut out = vec![0; room];
            unescape_into(inside.as_bytes(), &mut out);
        }
    }
}
