//! A reader of logfmt that is slow and obviously right: one byte after the other, everything copied.

/// Key, value with its escapes resolved, and what it is: `t` text, `n` number, `b` truth.
pub type Pair = (Vec<u8>, Vec<u8>, char);

/// The pairs of `text`, or `None` if it is no logfmt.
pub fn pairs(text: &[u8]) -> Option<Vec<Pair>> {
    let (mut found, mut rest, mut equals) = (Vec::new(), text, false);
    loop {
        while rest.first().is_some_and(|&b| b <= b' ') {
            rest = &rest[1..];
        }
        if rest.is_empty() {
            return (equals && found.len() <= 1000).then_some(found);
        }
        let mut key = Vec::new();
        while let Some((&b, behind)) = rest.split_first()
            && !(b <= b' ' || b == b'=' || b == b'"')
        {
            key.push(b);
            rest = behind;
        }
        if key.is_empty() || key.len() > 1024 || rest.first() == Some(&b'"') {
            return None;
        }
        if rest.first() != Some(&b'=') {
            found.push((key, b"true".to_vec(), 'b'));
            continue;
        }
        equals = true;
        rest = &rest[1..];
        if rest.first() != Some(&b'"') {
            let len = rest.iter().position(|&b| b <= b' ').unwrap_or(rest.len());
            let value = rest[..len].to_vec();
            rest = &rest[len..];
            let kind = match serde_json::from_slice::<serde_json::Value>(&value) {
                Ok(serde_json::Value::Number(_)) => 'n',
                Ok(serde_json::Value::Bool(_)) => 'b',
                // A number that is too large for it is one all the same.
                Err(error) if error.to_string().contains("out of range") => 'n',
                _ => 't',
            };
            found.push((key, value, kind));
            continue;
        }
        rest = &rest[1..];
        let mut inside = Vec::new();
        loop {
            let (&b, behind) = rest.split_first()?;
            rest = behind;
            match b {
                b'"' => break,
                b'\\' => {
                    let (&escaped, behind) = rest.split_first()?;
                    inside.extend([b, escaped]);
                    rest = behind;
                }
                b => inside.push(b),
            }
        }
        if rest.first().is_some_and(|&b| b > b' ') {
            return None;
        }
        // JSON first, Go otherwise.
        let json = [b"\"", &inside[..], b"\""].concat();
        let value = match serde_json::from_slice::<String>(&json) {
            Ok(text) if inside.contains(&b'\\') => text.into_bytes(),
            _ => go(&inside),
        };
        found.push((key, value, 't'));
    }
}

fn go(inside: &[u8]) -> Vec<u8> {
    let (mut out, mut at) = (Vec::new(), 0);
    while at < inside.len() {
        let (b, next) = (inside[at], inside.get(at + 1).copied());
        let number = |digits: usize| {
            let text = std::str::from_utf8(inside.get(at + 2..at + 2 + digits)?).ok()?;
            let digits = text.bytes().all(|b| b.is_ascii_hexdigit()).then_some(text)?;
            u32::from_str_radix(digits, 16).ok()
        };
        let simple = "n\nt\tr\ra\u{7}b\u{8}v\u{b}f\u{c}\"\"\\\\//''".as_bytes();
        let plain = next.and_then(|next| simple.chunks(2).find(|pair| pair[0] == next)).map(|pair| pair[1]);
        let mut letter = [0; 4];
        let (bytes, used): (&[u8], usize) = match (b, next) {
            (b'\\', Some(b'x')) if number(2).is_some() => {
                letter[0] = number(2).unwrap_or(0) as u8;
                (&letter[..1], 4)
            }
            (b'\\', Some(b'u')) if number(4).and_then(char::from_u32).is_some() => {
                let c = number(4).and_then(char::from_u32).unwrap_or('?');
                (c.encode_utf8(&mut letter).as_bytes(), 6)
            }
            (b'\\', Some(b'U')) if number(8).and_then(char::from_u32).is_some() => {
                let c = number(8).and_then(char::from_u32).unwrap_or('?');
                (c.encode_utf8(&mut letter).as_bytes(), 10)
            }
            (b'\\', Some(_)) if plain.is_some() => {
                letter[0] = plain.unwrap_or(0);
                (&letter[..1], 2)
            }
            (b'\\', Some(_)) => (&inside[at..at + 2], 2),
            _ => (&inside[at..at + 1], 1),
        };
        out.extend_from_slice(bytes);
        at += used;
    }
    out
}
