//! A reader of access logs that is slow and obviously right: it eats the line from the left, copying what it finds.

/// A field: its name and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// The fields of `line`, or `None` if it is no access log.
pub fn fields(line: &[u8]) -> Option<Vec<Pair>> {
    let mut found = Vec::new();
    let mut add = |name: &str, value: &[u8]| found.push((name.as_bytes().to_vec(), value.to_vec()));
    let (address, rest) = split(line, b" ")?;
    if address.is_empty() {
        return None;
    }
    add("remote_addr", address);
    let (_ident, rest) = split(rest, b" ")?;
    let (user, rest) = split(rest, b"[")?;
    let user = user.strip_suffix(b" ")?;
    if user != b"-" {
        add("remote_user", user);
    }
    let (time, rest) = split(rest, b"]")?;
    add("time_local", time);

    let (request, rest) = quoted(rest.strip_prefix(b" ")?)?;
    let words: Vec<&[u8]> = request.split(|&b| b == b' ').collect();
    let method = words[0].iter().all(|b| b.is_ascii_alphabetic() || *b == b'-') && !words[0].is_empty();
    let path = words.get(1..words.len() - 1).map(|path| path.join(&b' ')).unwrap_or_default();
    let protocol = words[words.len() - 1];
    if words.len() >= 3 && method && !path.is_empty() && !protocol.is_empty() {
        add("method", words[0]);
        add("path", &path);
        add("protocol", protocol);
    } else {
        add("request", request);
    }

    let (status, rest) = word(rest)?;
    add("status", status);
    let (bytes, mut rest) = word(rest)?;
    if bytes != b"-" {
        add("body_bytes_sent", bytes);
    }
    for name in ["http_referer", "http_user_agent", "http_x_forwarded_for"] {
        if !rest.starts_with(b" \"") {
            break;
        }
        let (value, behind) = quoted(&rest[1..])?;
        rest = behind;
        if value != b"-" {
            add(name, value);
        }
    }
    if let Some(extra) = rest.strip_prefix(b" ") {
        if !extra.is_empty() {
            add("extra", extra);
        }
    } else if !rest.is_empty() {
        return None;
    }
    Some(found)
}

fn split<'a>(text: &'a [u8], at: &[u8; 1]) -> Option<(&'a [u8], &'a [u8])> {
    let place = text.iter().position(|b| *b == at[0])?;
    Some((&text[..place], &text[place + 1..]))
}

fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = text.strip_prefix(b" ")?;
    let len = text.iter().position(|b| *b == b' ').unwrap_or(text.len());
    (len > 0).then(|| text.split_at(len))
}

/// What stands in the quotes at the start of `text`, and what behind them. A backslash takes the next byte with it.
fn quoted(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = text.strip_prefix(b"\"")?;
    let mut at = 0;
    while *text.get(at)? != b'"' {
        at += if text[at] == b'\\' { 2 } else { 1 };
    }
    Some((&text[..at], &text[at + 1..]))
}
