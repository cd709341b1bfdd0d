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
            let kind = match &value[..] {
                b"true" | b"false" => 'b',
                value if is_number(value) => 'n',
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

/// A number as JSON writes one (RFC 8259, 6), however large: a reader of values would give up at its range.
fn is_number(value: &[u8]) -> bool {
    let value = value.strip_prefix(b"-").unwrap_or(value);
    let (mantissa, exponent) = match value.iter().position(|b| matches!(b, b'e' | b'E')) {
        Some(at) => (&value[..at], Some(&value[at + 1..])),
        None => (value, None),
    };
    let (whole, fraction) = match mantissa.iter().position(|b| *b == b'.') {
        Some(at) => (&mantissa[..at], Some(&mantissa[at + 1..])),
        None => (mantissa, None),
    };
    let is_digits = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let unsigned =
        |text| [&b"+"[..], b"-"].iter().find_map(|sign| <[u8]>::strip_prefix(text, *sign)).unwrap_or(text);
    is_digits(whole)
        && (whole == b"0" || whole[0] != b'0')
        && fraction.is_none_or(is_digits)
        && exponent.is_none_or(|exponent| is_digits(unsigned(exponent)))
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
