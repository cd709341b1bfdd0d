//! What `redact` finds: built-in patterns, made by hand where that is faster than a regular expression or says more.
//!
//! All of them take time linear in the text. They err on the side of hiding: a version such as `1.2.3.4` reads like an
//! address, and one number in ten passes for a card's.

use super::trace::may_hold_secret;
use regex::bytes::Regex;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::sync::LazyLock;

/// A pattern that comes with the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BuiltIn {
    /// Addresses of mail, such as `ann@example.org`.
    Email,
    /// IPv4 addresses in four decimal numbers.
    Ipv4,
    /// 13 to 19 digits, with spaces or dashes between them or without, that begin like a card's and whose check digit
    /// (ISO/IEC 7812-1, Luhn) is right.
    CreditCard,
    /// Values behind names such as `password=`, bearer tokens, passwords in URLs, and whole fields with such names.
    Secret,
}

impl BuiltIn {
    /// Its word in the config.
    pub fn name(self) -> &'static str {
        match self {
            BuiltIn::Email => "email",
            BuiltIn::Ipv4 => "ipv4",
            BuiltIn::CreditCard => "credit_card",
            BuiltIn::Secret => "secret",
        }
    }

    /// Tells `found` where it matches in `text`, from left to right.
    pub fn find(self, text: &[u8], found: &mut dyn FnMut(Range<usize>)) {
        match self {
            BuiltIn::Email => emails(text, found),
            BuiltIn::Ipv4 => addresses(text, found),
            BuiltIn::CreditCard => cards(text, found),
            BuiltIn::Secret => secrets(text, found),
        }
    }

    /// Whether a field called `name` is to be hidden whatever it holds.
    pub fn hides_field(self, name: &[u8]) -> bool {
        // What the names end in: most others need no further look.
        self == BuiltIn::Secret
            && matches!(name.last(), Some(b'd' | b'e' | b'l' | b'n' | b's' | b't' | b'y' | b'A'..=b'Z'))
            && may_hold_secret(name)
            && SECRET_NAME.is_match(name)
    }

    /// Whether `text`, or any piece of it, may have something in it, or be a name that hides. A first look, much cheaper
    /// than the others: whatever they find in a piece, this says so of the whole.
    pub fn may_be_in(self, text: &[u8]) -> bool {
        let is_digit = |at: usize| text.get(at).is_some_and(u8::is_ascii_digit);
        match self {
            BuiltIn::Email => memchr::memchr(b'@', text).is_some(),
            BuiltIn::Ipv4 => {
                memchr::memchr_iter(b'.', text).any(|dot| dot > 0 && is_digit(dot - 1) && is_digit(dot + 1))
            }
            BuiltIn::CreditCard => text.iter().filter(|byte| byte.is_ascii_digit()).count() >= CARD_MIN,
            BuiltIn::Secret => may_hold_secret(text) && SECRET_TRACE.is_match(text),
        }
    }
}

/// The fewest digits of a card's number.
const CARD_MIN: usize = 13;

fn emails(text: &[u8], found: &mut dyn FnMut(Range<usize>)) {
    let is_local = |byte: &u8| byte.is_ascii_alphanumeric() || b"._%+-".contains(byte) || *byte >= 0x80;
    let is_domain = |byte: &u8| byte.is_ascii_alphanumeric() || b".-".contains(byte) || *byte >= 0x80;
    let mut free = 0;
    for at in memchr::memchr_iter(b'@', text) {
        if at < free {
            continue;
        }
        let local = text[free..at].iter().rev().take_while(|byte| is_local(byte)).count();
        let mut domain = text[at + 1..].iter().take_while(|byte| is_domain(byte)).count();
        // What stands behind the last name that can end a domain belongs to the sentence.
        while domain > 0 && !ends_a_domain(&text[at + 1..][..domain]) {
            let host = &text[at + 1..][..domain];
            domain = host.iter().rposition(|byte| matches!(byte, b'.' | b'-')).unwrap_or(0);
        }
        if local > 0 && domain > 0 {
            found(at - local..at + 1 + domain);
            free = at + 1 + domain;
        }
    }
}

/// Whether the last of several names is one that domains end in: two letters at least, the first no digit.
fn ends_a_domain(host: &[u8]) -> bool {
    let top = host.rsplit(|byte| *byte == b'.').next().unwrap_or_default();
    top.len() >= 2
        && top.len() < host.len()
        && !top[0].is_ascii_digit()
        && !top.ends_with(b"-")
        && top[0] != b'-'
}

fn addresses(text: &[u8], found: &mut dyn FnMut(Range<usize>)) {
    let mut free = 0;
    for dot in memchr::memchr_iter(b'.', text) {
        if dot < free {
            continue;
        }
        let digits = text[free..dot].iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
        let start = dot - digits;
        let stands_alone = start == 0 || !matches!(text[start - 1], b'.' | b'0'..=b'9');
        let Some(end) = address(text, start).filter(|_| stands_alone && digits > 0) else { continue };
        let goes_on = matches!(&text[end..], [b'0'..=b'9', ..] | [b'.', b'0'..=b'9', ..]);
        if !goes_on {
            found(start..end);
            free = end;
        }
    }
}

/// Where the four numbers that begin at `start` end.
fn address(text: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    for number in 0..4 {
        if number > 0 {
            at += usize::from(text.get(at) == Some(&b'.'));
        }
        let digits = text[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let value =
            text[at..][..digits.min(4)].iter().fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'));
        if digits == 0 || digits > 3 || value > 255 {
            return None;
        }
        at += digits;
    }
    Some(at)
}

fn cards(text: &[u8], found: &mut dyn FnMut(Range<usize>)) {
    /// Any run of so many digits and separators covers a place that is a multiple of this, and the next one.
    const STRIDE: usize = 12;
    let digit = |at: usize| text.get(at).is_some_and(u8::is_ascii_digit);
    let (mut at, mut free) = (0, 0);
    while at < text.len() {
        if !digit(at) && !digit(at + 1) {
            at += STRIDE;
            continue;
        }
        let mut start = if digit(at) { at } else { at + 1 };
        // Separators stand alone between digits.
        let separated = |at: usize| matches!(text.get(at), Some(b' ' | b'-'));
        while start > free
            && (digit(start - 1) || start > free + 1 && separated(start - 1) && digit(start - 2))
        {
            start -= 1;
        }
        let mut end = start;
        while digit(end) || end > start && separated(end) && digit(end + 1) && digit(end - 1) {
            end += 1;
        }
        cards_in(text, start..end, found);
        free = end;
        // The next multiple behind the run, or the run's end itself if a new one may begin there.
        at = end.max(at + 1).next_multiple_of(STRIDE);
    }
}

/// Finds cards in a run of digits with single separators. Other numbers may stand beside one, so every span of whole
/// groups is tried.
fn cards_in(text: &[u8], run: Range<usize>, found: &mut dyn FnMut(Range<usize>)) {
    let digit = |at: usize| text[at].is_ascii_digit();
    let mut start = run.start;
    while start < run.end {
        let begins = digit(start) && (start == run.start || !digit(start - 1));
        let end = begins.then(|| card_end(text, start, run.end)).flatten();
        match end {
            Some(end) => {
                found(start..end);
                start = end;
            }
            None => start += 1,
        }
    }
}

/// Where the card that begins at `start` ends, if one does: the longest span of whole groups that can be one.
fn card_end(text: &[u8], start: usize, limit: usize) -> Option<usize> {
    if !matches!(text[start], b'2'..=b'6') {
        return None;
    }
    let (mut digits, mut count, mut best) = ([0; 19], 0, None);
    for at in start..limit {
        if !text[at].is_ascii_digit() {
            continue;
        }
        if count == digits.len() {
            break;
        }
        digits[count] = text[at] - b'0';
        count += 1;
        let ends = at + 1 == limit || !text[at + 1].is_ascii_digit();
        if ends && count >= CARD_MIN && luhn(&digits[..count]) {
            best = Some(at + 1);
        }
    }
    best
}

/// Whether the last digit is the check digit of those before it.
fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(at, digit)| match u32::from(*digit) {
            digit if at % 2 == 0 => digit,
            digit if digit > 4 => 2 * digit - 9,
            digit => 2 * digit,
        })
        .sum();
    sum.is_multiple_of(10)
}

/// What names of secrets end in.
const SECRET_NAMES: &str = "password|passwd|passphrase|passcode|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|\
                            secret[_-]?key|credentials?|authorization";

fn built(pattern: &str) -> Regex {
    // Patterns of our own, compiled by a test.
    Regex::new(pattern).unwrap_or_else(|error| unreachable!("{error}"))
}

static SECRET_NAME: LazyLock<Regex> = LazyLock::new(|| built(&format!("(?i-u)(?:{SECRET_NAMES})$")));
/// A name with what stands between it and its value, or the word in front of a token, or the user of a URL.
static SECRET_BEFORE: LazyLock<Regex> = LazyLock::new(|| {
    built(&format!(
        r#"(?i-u)(?:{SECRET_NAMES})\\?["']?[ \t]*(?:=>|[:=])[ \t]*(?:(?:bearer|basic|digest|token)[ \t]+)?|\b(?:bearer|basic)[ \t]+|://[^\s/:@"']{{0,256}}:"#
    ))
});

/// What no text that [`SECRET_BEFORE`] matches, and no name that [`SECRET_NAME`] matches, is without.
static SECRET_TRACE: LazyLock<Regex> =
    LazyLock::new(|| built("(?i-u)pass|pwd|secret|token|key|credential|authoriz|bearer|basic|://"));

fn secrets(text: &[u8], found: &mut dyn FnMut(Range<usize>)) {
    // `pwd=x` is the shortest.
    let mut from = if text.len() < 5 || !may_hold_secret(text) { text.len() } else { 0 };
    while let Some(before) = SECRET_BEFORE.find_at(text, from) {
        from = before.end();
        let (start, rest) = (before.end(), &text[before.end()..]);
        let bytes = before.as_bytes();
        let value = if bytes.starts_with(b"://") {
            url_password(rest)
        } else if matches!(bytes.last(), Some(b' ' | b'\t'))
            && !bytes.iter().any(|byte| b":=>".contains(byte))
        {
            bearer(rest)
        } else {
            value(rest)
        };
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            from = start + value.end;
            found(start + value.start..start + value.end);
        }
    }
}

/// The value that `rest` begins with: what is in the quotes, or up to what ends a word.
fn value(rest: &[u8]) -> Option<Range<usize>> {
    let (quote, start) = match rest {
        [b'\\', quote @ (b'"' | b'\''), ..] => (Some(*quote), 2),
        [quote @ (b'"' | b'\''), ..] => (Some(*quote), 1),
        _ => (None, 0),
    };
    let inside = &rest[start..];
    let len = match quote {
        Some(quote) => {
            let mut at = 0;
            while at < inside.len() && inside[at] != quote {
                at += 1 + usize::from(inside[at] == b'\\' && start == 1);
            }
            let at = at.min(inside.len());
            // The backslash in front of an escaped quote belongs to the quote.
            if start == 2 && at > 0 && inside[at - 1] == b'\\' { at - 1 } else { at }
        }
        None => inside
            .iter()
            .position(|byte| byte.is_ascii_whitespace() || b",;&\"')]}".contains(byte))
            .unwrap_or(inside.len()),
    };
    Some(start..start + len)
}

/// A token behind `Bearer`: no word of a sentence, which has small letters only.
fn bearer(rest: &[u8]) -> Option<Range<usize>> {
    let belongs = |byte: &u8| byte.is_ascii_alphanumeric() || b"._~+/=-".contains(byte);
    let len = rest.iter().take_while(|byte| belongs(byte)).count();
    let is_token = len >= 8 && rest[..len].iter().any(|byte| !byte.is_ascii_lowercase());
    is_token.then_some(0..len)
}

/// The password of a URL, if an `@` ends it.
fn url_password(rest: &[u8]) -> Option<Range<usize>> {
    let end = rest
        .iter()
        .position(|byte| byte.is_ascii_whitespace() || b"/\"'".contains(byte))
        .unwrap_or(rest.len());
    memchr::memrchr(b'@', &rest[..end]).map(|at| 0..at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The text with what was found marked.
    fn marked(pattern: BuiltIn, text: &str) -> String {
        let (mut out, mut done) = (Vec::new(), 0);
        pattern.find(text.as_bytes(), &mut |range| {
            assert!(range.start >= done && range.end <= text.len() && !range.is_empty(), "{text}: {range:?}");
            out.extend_from_slice(&text.as_bytes()[done..range.start]);
            out.extend_from_slice("«".as_bytes());
            out.extend_from_slice(&text.as_bytes()[range.clone()]);
            out.extend_from_slice("»".as_bytes());
            done = range.end;
        });
        out.extend_from_slice(&text.as_bytes()[done..]);
        String::from_utf8(out).unwrap()
    }

    fn check(pattern: BuiltIn, rows: &[&str]) {
        for row in rows {
            assert_eq!(marked(pattern, &row.replace(['«', '»'], "")), *row);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]
        #[test]
        fn what_is_found_in_a_piece_may_be_in_the_whole(
            parts in prop::collection::vec(prop::sample::select(vec![
                "a", "@", ".", "b.org", "1", "10.0.0.1", "4111 1111-1111 1111", "411111111111", "1111", " ", "=", ": ", "\"", "'",
                "PassWord", "passwd", "passphrase", "passcode", "pwd", "secret", "Token", "api_key", "apikey", "access-key",
                "private_key", "credentials", "credential", "Authorization", "bearer ", "Basic ", "AbCdEf123", "://", "u:p@h", "=>",
            ]), 0..9),
            ends in any::<(prop::sample::Index, prop::sample::Index)>(),
        ) {
            let text = parts.concat();
            let (one, other) = (ends.0.index(text.len() + 1), ends.1.index(text.len() + 1));
            let piece = &text.as_bytes()[one.min(other)..one.max(other)];
            for pattern in [BuiltIn::Email, BuiltIn::Ipv4, BuiltIn::CreditCard, BuiltIn::Secret] {
                let mut any = pattern.hides_field(piece);
                pattern.find(piece, &mut |_| any = true);
                prop_assert!(!any || pattern.may_be_in(text.as_bytes()), "{:?} in {:?}", pattern, text);
                // The looks that spare the expression spare nothing that it would find.
                let hides = pattern == BuiltIn::Secret && SECRET_NAME.is_match(piece);
                prop_assert_eq!(pattern.hides_field(piece), hides);
            }
        }
    }

    #[test]
    fn mail_addresses_are_found_and_what_only_has_an_at_is_not() {
        check(
            BuiltIn::Email,
            &[
                "from «ann@example.org» to «b.c+d@mail.example.co.uk».",
                "«jörg@exämple.de», user@host, @home, a@, x@1.2, a@b.c",
                "mailto:«a@b.org»;«c@d.org»- «a@b.org».1.2 «a@b.c.de»",
                "git@ «git@github.com»:x/y",
            ],
        );
    }

    #[test]
    fn addresses_are_four_numbers_that_stand_alone() {
        check(
            BuiltIn::Ipv4,
            &[
                "«10.0.0.1»:80 and («255.255.255.255»), «1.2.3.4».",
                "256.1.1.1 1.2.3 1.2.3.4.5 1234.1.1.1 1.2.3.4567 ..1.2.3.4",
                "from=«192.168.178.20»/24 v1.2.",
            ],
        );
    }

    #[test]
    fn cards_are_found_with_and_without_separators_and_beside_other_numbers() {
        check(
            BuiltIn::CreditCard,
            &[
                "«4111111111111111»",
                "card «4111 1111 1111 1111» 2026-01-02",
                "12 «5500-0055-5555-5559»",
                "amex «378282246310005», wrong 4111111111111112, order 1111111111111111",
                "ns 1767323045123456789 long 411111111111111141111111111111114",
                "{\"pan\":«6011111111111117»}",
                "a«4222222222222»z",
            ],
        );
    }

    #[test]
    fn secrets_are_found_behind_their_names_in_urls_and_as_tokens() {
        check(
            BuiltIn::Secret,
            &[
                "login password=«hunter2» ok",
                "DB_PASSWORD: «x», pwd='«a b»' secret => «s3»;",
                r#"{"api_key": "«k\"1»", "n": 1, "client_secret":"«z»"}"#,
                r#"{\"token\":\"«abc»\",\"x\":1}"#,
                "Authorization: Bearer «eyJhbGciOi.J9» done",
                "sent Bearer «abc123DEF» and Basic «dXNlcjpwYXNz»",
                "basic authentication failed for bearer of news, token count 5",
                "postgres://ann:«s3cret»@db:5432/x https://host:8080/path",
                "token:",
                "password=",
                "GET /?token=«abc»&x=1",
            ],
        );
        for (name, hidden) in [("password", true), ("X-Api-Key", true), ("tokens", false), ("user", false)] {
            assert_eq!(BuiltIn::Secret.hides_field(name.as_bytes()), hidden, "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_searched_without_harm_and_left_to_right(
            text in "([0-9]{1,5}|[ .@:=/-]|password=|Bearer |://|\"|'|\\\\|[a-f]{1,3}|é){0,24}",
        ) {
            for pattern in [BuiltIn::Email, BuiltIn::Ipv4, BuiltIn::CreditCard, BuiltIn::Secret] {
                marked(pattern, &text);
            }
        }

        #[test]
        fn a_card_is_found_wherever_it_stands(before in "([a-z.,]|[a-z] ){0,40}", after in "([a-z.,]{0,3}| [a-z]{0,20})", grouped: bool) {
            let card = if grouped { "4111-1111-1111-1111" } else { "4111111111111111" };
            let text = format!("{before}{card}{after}");
            prop_assert_eq!(marked(BuiltIn::CreditCard, &text), format!("{before}«{card}»{after}"));
        }
    }
}
