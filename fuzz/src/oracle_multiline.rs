//! A joiner of lines that is slow and obviously right: it sees the whole stream at once.

/// One expected event: its bytes, and whether it was cut.
pub type Entry = (Vec<u8>, bool);

/// How long an event may become.
pub struct Limits {
    /// Longest line in bytes.
    pub line: usize,
    /// Most lines.
    pub lines: usize,
    /// Most bytes, for events of more than one line.
    pub bytes: usize,
}

/// The events of `stream`, where `belongs` says of a line whether it goes on the event before it and `ends` whether it
/// is the last of its event. Both are asked without the CR of a CRLF.
pub fn events(
    stream: &[u8],
    limits: &Limits,
    belongs: impl Fn(&[u8]) -> bool,
    ends: impl Fn(&[u8]) -> bool,
) -> Vec<Entry> {
    let mut lines: Vec<&[u8]> = stream.split(|&b| b == b'\n').collect();
    if lines.last().is_some_and(|last| last.is_empty()) {
        lines.pop();
    }
    let (mut all, mut event) = (Vec::new(), Vec::new());
    for line in lines {
        let shown = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() > limits.line {
            all.extend(take(&mut event));
            all.push((line[..limits.line].to_vec(), true));
            continue;
        }
        if !event.is_empty() {
            let longer = event.join(&b'\n').len() + 1 + line.len();
            if longer > limits.bytes || !belongs(shown) {
                all.extend(take(&mut event));
            }
        }
        event.push(line);
        // With that many bytes not even an empty line has room.
        if ends(shown) || event.len() >= limits.lines || event.join(&b'\n').len() >= limits.bytes {
            all.extend(take(&mut event));
        }
    }
    all.extend(take(&mut event));
    all
}

fn take(event: &mut Vec<&[u8]>) -> Option<Entry> {
    let lines = std::mem::take(event);
    (!lines.is_empty()).then(|| (lines.join(&b'\n'), false))
}
