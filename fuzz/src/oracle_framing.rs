//! Framers that are slow and obviously right: they see the whole stream at once and keep no state.

/// One expected entry: its bytes, and whether it was cut.
pub type Entry = (Vec<u8>, bool);

/// What a `LineFramer` must find in `stream`, and how many bytes it must count as discarded.
pub fn lines(stream: &[u8], max_line: usize, strip_cr: bool) -> (Vec<Entry>, u64) {
    lines_ended_by(b"\n", stream, max_line, strip_cr)
}

/// The same for lines that end in any of `ends`.
pub fn lines_ended_by(ends: &[u8], stream: &[u8], max_line: usize, strip_cr: bool) -> (Vec<Entry>, u64) {
    let mut pieces: Vec<&[u8]> = stream.split(|b| ends.contains(b)).collect();
    // What follows the last end is a line only if there is something.
    if pieces.last().is_some_and(|last| last.is_empty()) {
        pieces.pop();
    }
    let mut discarded = 0;
    let entries = pieces
        .into_iter()
        .map(|raw| {
            let line = if strip_cr { raw.strip_suffix(b"\r").unwrap_or(raw) } else { raw };
            if line.len() > max_line {
                discarded += (raw.len() - max_line) as u64;
                (line[..max_line].to_vec(), true)
            } else {
                (line.to_vec(), false)
            }
        })
        .collect();
    (entries, discarded)
}

/// What an `OctetFramer` must find in `stream`, and whether it must refuse the rest.
pub fn octets(stream: &[u8], max_message: usize) -> (Vec<Entry>, bool) {
    let mut entries = Vec::new();
    let mut rest = stream;
    while !rest.is_empty() {
        if !rest[0].is_ascii_digit() {
            let end = rest.iter().position(|&b| b == b'\n');
            let line = trim(&rest[..end.map_or(rest.len(), |lf| lf + 1)]);
            // At the end of the stream a CR is a line ending too.
            let line = if end.is_none() { line.strip_suffix(b"\r").unwrap_or(line) } else { line };
            if line.len() > max_message {
                entries.push((line[..max_message].to_vec(), true));
            } else if !line.is_empty() {
                entries.push((line.to_vec(), false));
            }
            rest = end.map_or(&[], |lf| &rest[lf + 1..]);
            continue;
        }
        let digits: String = rest.iter().take_while(|b| b.is_ascii_digit()).map(|&b| char::from(b)).collect();
        // Too many digits for `u128` is too long as well.
        let len = digits.parse::<u128>().unwrap_or(u128::MAX);
        if digits.starts_with('0') || len > max_message as u128 {
            return (entries, true);
        }
        rest = &rest[digits.len()..];
        match rest.first() {
            None => break,
            Some(b' ') => rest = &rest[1..],
            Some(_) => return (entries, true),
        }
        let len = len as usize;
        if rest.len() < len {
            if !rest.is_empty() {
                entries.push((rest.to_vec(), true));
            }
            break;
        }
        let message = trim(&rest[..len]);
        if !message.is_empty() {
            entries.push((message.to_vec(), false));
        }
        rest = &rest[len..];
    }
    (entries, false)
}

/// What an `OctetFramer` that takes no lines must find in `stream`, and whether it must refuse the rest.
pub fn counted(stream: &[u8], max_message: usize) -> (Vec<Entry>, bool) {
    let mut at = 0;
    // Where the first thing begins that is no counted frame: a line, or whatever `octets` judges itself.
    while let Some(b'1'..=b'9') = stream.get(at) {
        let digits = stream[at..].iter().take_while(|b| b.is_ascii_digit()).count();
        let len =
            std::str::from_utf8(&stream[at..at + digits]).ok().and_then(|text| text.parse::<usize>().ok());
        match len.and_then(|len| (at + digits + 1).checked_add(len)) {
            Some(end) if end <= stream.len() && stream[at + digits] == b' ' => at = end,
            _ => return octets(stream, max_message),
        }
    }
    match stream.get(at) {
        None | Some(b'0') => octets(stream, max_message),
        Some(_) => (octets(&stream[..at], max_message).0, true),
    }
}

/// What a `PrefixFramer` must find in `stream`, and whether it must refuse the rest.
pub fn prefixed(mut stream: &[u8], max_message: usize) -> (Vec<Entry>, bool) {
    let mut entries = Vec::new();
    while let [a, b, c, d, rest @ ..] = stream {
        let len = ((usize::from(*a) * 256 + usize::from(*b)) * 256 + usize::from(*c)) * 256 + usize::from(*d);
        if len > max_message {
            return (entries, true);
        }
        let (message, after) = rest.split_at(len.min(rest.len()));
        if !message.is_empty() {
            entries.push((message.to_vec(), message.len() < len));
        }
        stream = after;
    }
    (entries, false)
}

/// Without one LF and one CR before it.
fn trim(message: &[u8]) -> &[u8] {
    match message.strip_suffix(b"\n") {
        Some(line) => line.strip_suffix(b"\r").unwrap_or(line),
        None => message,
    }
}
