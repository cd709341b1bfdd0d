//! What the body of an engine's log says, found the slow way: all of it at once.

/// A line: which stream (1 for errors), its time and its text, and whether it has an end.
pub type Line = (u8, Option<i64>, Vec<u8>, bool);

/// Most bytes looked at for a time.
const STAMP_MAX: usize = 40;
/// Where a terminal's lines are cut.
const CUT: usize = 16 << 10;

/// The lines of `bytes` in the order they were begun or, in frames, gone on with; and whether something is wrong with them.
pub fn lines(bytes: &[u8], time: impl Fn(&[u8]) -> Option<i64>) -> (Vec<Line>, bool) {
    match bytes.first() {
        None => (Vec::new(), false),
        Some(0..=3) => framed(bytes, time),
        Some(b'0'..=b'9') => (terminal(bytes, time), false),
        Some(_) => (Vec::new(), true),
    }
}

/// Where the time in `text` ends, with what is behind it; `None`: it is not known yet.
fn stamp(text: &[u8], whole: bool) -> Option<usize> {
    let seen = &text[..text.len().min(STAMP_MAX)];
    let end = seen.iter().position(|byte| matches!(byte, b' ' | b'\n')).map(|at| at + 1);
    end.or((whole || seen.len() == STAMP_MAX).then_some(seen.len()))
}

/// Lines as their pieces come.
#[derive(Default)]
pub struct Lines {
    /// In the order they were begun.
    pub all: Vec<Line>,
    /// Those of each stream that have no end yet.
    open: [Option<usize>; 2],
}

impl Lines {
    /// Adds a piece, of a new line if there is none in its stream that goes on.
    pub fn add(&mut self, std: u8, time: Option<i64>, text: &[u8], ends: bool) {
        let open = &mut self.open[usize::from(std)];
        let at = *open.get_or_insert_with(|| {
            self.all.push((std, time, Vec::new(), false));
            self.all.len() - 1
        });
        self.all[at].2.extend_from_slice(text);
        if ends {
            self.all[at].3 = true;
            *open = None;
        }
    }
}

fn framed(bytes: &[u8], time: impl Fn(&[u8]) -> Option<i64>) -> (Vec<Line>, bool) {
    let (mut lines, mut rest) = (Lines::default(), bytes);
    while let Some((header, behind)) = rest.split_first_chunk::<8>() {
        let [kind @ 0..=3, 0, 0, 0, l1, l2, l3, l4] = *header else { return (lines.all, true) };
        let len = u32::from_be_bytes([l1, l2, l3, l4]) as usize;
        let whole = behind.len() >= len;
        let (payload, next) = behind.split_at(len.min(behind.len()));
        rest = next;
        if kind == 3 {
            return (lines.all, whole);
        }
        let std = u8::from(kind == 2);
        if payload.is_empty() {
            continue;
        }
        let Some(end) = stamp(payload, whole) else { return (lines.all, false) };
        let told = payload[..end].strip_suffix(b" ").and_then(&time);
        let text = if told.is_some() { &payload[end..] } else { payload };
        for piece in text.split_inclusive(|byte| *byte == b'\n') {
            let line = piece.strip_suffix(b"\n");
            lines.add(std, told, line.unwrap_or(piece), line.is_some());
        }
    }
    (lines.all, false)
}

fn terminal(bytes: &[u8], time: impl Fn(&[u8]) -> Option<i64>) -> Vec<Line> {
    let (mut out, mut rest) = (Vec::new(), bytes);
    while let Some(end) = stamp(rest, false) {
        let told = rest[..end].strip_suffix(b" ").and_then(&time);
        let stamp = &rest[..end];
        rest = &rest[end..];
        let (mut text, mut ends) = (Vec::new(), false);
        // What stands where a time should is the line's beginning.
        if told.is_none() {
            text.extend_from_slice(stamp);
            ends = text.pop_if(|byte| *byte == b'\n').is_some();
        }
        while !ends {
            // Up to the next place where the line may have been cut.
            let room = CUT - text.len() % CUT;
            let seen = &rest[..rest.len().min(room)];
            let newline = seen.iter().position(|byte| *byte == b'\n');
            let part = newline.unwrap_or(seen.len());
            text.extend_from_slice(&seen[..part]);
            rest = &rest[part + usize::from(newline.is_some())..];
            ends = newline.is_some();
            if ends {
                // A CR where the line was cut had been told before.
                let cut = told.is_some() && part == 0 && text.len() % CUT == 0 || told.is_none() && part == 0;
                if !cut && text.ends_with(b"\r") {
                    text.pop();
                }
            } else if seen.len() < room {
                break;
            } else if told.is_some() {
                if rest.len() < stamp.len() && stamp.starts_with(rest) {
                    rest = &[];
                    break;
                }
                rest = rest.strip_prefix(stamp).unwrap_or(rest);
            }
        }
        if !ends && text.ends_with(b"\r") && text.len() % CUT != 0 {
            text.pop();
        }
        let open = !ends;
        if !(open && text.is_empty()) {
            out.push((0, told, text, ends));
        }
        if open {
            break;
        }
    }
    out
}
