//! What a syslog message says about itself: its priority, time, host, program, structured data and text.
//!
//! [`parse`] never fails and never changes a byte. It looks for RFC 5424 first, then for RFC 3164 in the shapes that
//! are really sent, or written to files, where they have no priority; what is neither is a plain message. Without a
//! priority a message has the one RFC 3164, section 4.3.3, gives it. Whatever is not recognised stays in the message text. Everything is told as positions in the given bytes.
//! Not here: framing (see `octet`), and whether the text is UTF-8 (names and values are bytes as they came).

pub use super::rfc5424::{Param, Params};
use super::{rfc3164, rfc5424};
pub use crate::time::Clock;

/// Names of the severities by number, as RFC 5424, section 6.2.1, orders them and `syslog.conf` spells them.
pub const SEVERITIES: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

/// Names of the facilities by number (RFC 5424, section 6.2.1); 12 to 15 have no agreed names and are spelled as
/// rsyslog and util-linux do.
pub const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
    "ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6",
    "local7",
];

/// A stretch of the message's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// First byte, counted from the start of the message.
    pub start: u32,
    /// Length in bytes.
    pub len: u32,
}

impl Span {
    /// The bytes of this span in `message`, the bytes it was found in.
    #[inline]
    pub fn of(self, message: &[u8]) -> &[u8] {
        &message[self.start as usize..][..self.len as usize]
    }

    /// Positions fit: `parse` looks at no more than `u32` can count.
    #[inline]
    pub(super) fn new(start: usize, end: usize) -> Self {
        Self { start: start as u32, len: (end - start) as u32 }
    }
}

/// Which of the formats a message was recognised as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// RFC 5424, version 1.
    Rfc5424,
    /// RFC 3164: at least a priority, or a time and a tag.
    Rfc3164,
    /// Nothing: the whole is text.
    Plain,
}

/// What was found in one message. Absent parts, and those given as `-` in RFC 5424, are `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// Facility, 0 to 23: an index into [`FACILITIES`].
    pub facility: u8,
    /// Severity, 0 to 7: an index into [`SEVERITIES`].
    pub severity: u8,
    /// The format these were found by.
    pub format: Format,
    /// The sender's time, in nanoseconds since 1970, UTC; `None` if absent or not valid.
    pub timestamp: Option<i64>,
    /// Who sent it, by its own account.
    pub host: Option<Span>,
    /// The program: APP-NAME, or the TAG of RFC 3164 without its process id.
    pub app: Option<Span>,
    /// PROCID, or what stood in brackets behind the TAG.
    pub procid: Option<Span>,
    /// MSGID; RFC 5424 only.
    pub msgid: Option<Span>,
    /// All SD-ELEMENTs with their brackets, well formed; see [`Message::params`]. Empty without any.
    pub structured_data: Span,
    /// The text: what is left, without the byte order mark of RFC 5424.
    pub message: Span,
}

impl Message {
    /// A message of which nothing is known but that `bytes[start..end]` is its text.
    #[inline]
    pub(super) fn bare(pri: u8, format: Format, start: usize, end: usize) -> Self {
        Self {
            facility: pri >> 3,
            severity: pri & 7,
            format,
            timestamp: None,
            host: None,
            app: None,
            procid: None,
            msgid: None,
            structured_data: Span::new(start, start),
            message: Span::new(start, end),
        }
    }

    /// The parameters of the structured data in `bytes`, the bytes this was parsed from, in their order.
    pub fn params<'m>(&self, bytes: &'m [u8]) -> Params<'m> {
        Params::new(self.structured_data.of(bytes))
    }
}

/// `user.notice`: what RFC 3164, section 4.3.3, has a relay put before a message without a priority.
const DEFAULT_PRI: u8 = 13;

/// Reads one message, as it came out of its frame or datagram.
///
/// `clock` completes the timestamps of RFC 3164. Only the first 4 GiB are looked at.
#[inline]
pub fn parse(bytes: &[u8], clock: &Clock) -> Message {
    let bytes = &bytes[..bytes.len().min(u32::MAX as usize)];
    let Some((pri, at)) = priority(bytes) else {
        return rfc3164::parse_file(bytes, DEFAULT_PRI, clock)
            .unwrap_or_else(|| Message::bare(DEFAULT_PRI, Format::Plain, 0, bytes.len()));
    };
    rfc5424::parse(bytes, pri, at).unwrap_or_else(|| rfc3164::parse(bytes, pri, at, clock))
}

/// `<PRI>` at the start: its value, at most 191, and where it ends.
///
/// One to three digits without leading zeros: RFC 3164, section 4.3.3, names `<00>` as what is no priority.
#[inline]
fn priority(bytes: &[u8]) -> Option<(u8, usize)> {
    let digit = |b: u8| b.is_ascii_digit().then(|| u16::from(b - b'0'));
    let (value, end) = match *bytes {
        [b'<', a, b'>', ..] => (digit(a)?, 3),
        [b'<', a @ b'1'..=b'9', b, b'>', ..] => (digit(a)? * 10 + digit(b)?, 4),
        [b'<', a @ b'1'..=b'9', b, c, b'>', ..] => (digit(a)? * 100 + digit(b)? * 10 + digit(c)?, 5),
        _ => return None,
    };
    (value <= 191).then_some((value as u8, end))
}

// Shared with the fuzz target.
#[cfg(test)]
#[path = "../../../../fuzz/src/oracle_syslog.rs"]
mod oracle;

#[cfg(test)]
mod tests {
    use jiff::tz::{Offset, TimeZone};
    use proptest::prelude::*;

    use super::{oracle::Expected, *};

    /// 2026-11-23T10:00:00Z.
    const NOW: i64 = 1_795_428_000_000_000_000;

    fn clock(offset: i32) -> Clock {
        Clock::new(TimeZone::fixed(Offset::from_seconds(offset).unwrap()), NOW)
    }

    /// What was found, in the words of the oracle; panics if a span is out of bounds.
    fn found(bytes: &[u8], clock: &Clock) -> Expected {
        let m = parse(bytes, clock);
        let text = |span: Option<Span>| span.map(|span| span.of(bytes).to_vec());
        let params = m.params(bytes).map(|param| {
            let mut value = Vec::new();
            param.unescape_into(&mut value);
            assert_eq!(param.escaped, param.raw.contains(&b'\\'));
            [param.id.to_vec(), param.name.to_vec(), param.raw.to_vec(), value]
        });
        Expected {
            pri: m.facility * 8 + m.severity,
            format: match m.format {
                Format::Rfc5424 => "5424",
                Format::Rfc3164 => "3164",
                Format::Plain => "plain",
            },
            timestamp: m.timestamp,
            host: text(m.host),
            app: text(m.app),
            procid: text(m.procid),
            msgid: text(m.msgid),
            params: params.collect(),
            message: m.message.of(bytes).to_vec(),
        }
    }

    /// `host|app|procid|msgid|message`, absent parts as nothing.
    fn parts(bytes: &[u8]) -> String {
        let f = found(bytes, &clock(0));
        assert_eq!(f, oracle::parse(bytes, NOW, 0));
        let shown = [f.host, f.app, f.procid, f.msgid, Some(f.message)]
            .map(|part| String::from_utf8_lossy(&part.unwrap_or_default()).into_owned());
        shown.join("|")
    }

    #[test]
    fn a_priority_is_one_to_three_digits_up_to_191_without_leading_zeros() {
        for pri in 0..=191u8 {
            let m = parse(format!("<{pri}>x").as_bytes(), &clock(0));
            assert_eq!((m.facility, m.severity, m.format), (pri / 8, pri % 8, Format::Rfc3164));
        }
        let none = ["<192>x", "<999>x", "<1000>x", "<0013>x", "<013>x", "<00>x", "<>x", "<-1>x", "<+1>x"];
        for text in
            none.into_iter().chain(["< 1>x", "<1 >x", "<1x", "<1", "<", "", "1>x", " <1>x", "<1\0>", "<٣>"])
        {
            let m = parse(text.as_bytes(), &clock(0));
            assert_eq!((m.facility, m.severity, m.format), (1, 5, Format::Plain), "{text}");
            assert_eq!(m.message.of(text.as_bytes()), text.as_bytes());
        }
        let m = parse(&[&b"<"[..], &b"9".repeat(30), b">x"].concat(), &clock(0));
        assert_eq!(m.format, Format::Plain);
    }

    #[test]
    fn lines_of_syslog_files_have_no_priority_and_are_told_by_their_time_and_tag() {
        let line = b"Nov 23 09:59:59 web1 sshd[4711]: Accepted publickey for ann";
        let m = parse(line, &clock(0));
        assert_eq!((m.facility, m.severity, m.format), (1, 5, Format::Rfc3164));
        assert_eq!(m.timestamp, Some(NOW - 1_000_000_000));
        assert_eq!(parts(line), "web1|sshd|4711||Accepted publickey for ann");
        assert_eq!(
            parts(b"2026-11-23T10:00:00.123456+01:00 web1 kernel: [1.2] up"),
            "web1|kernel|||[1.2] up"
        );
        assert_eq!(parts(b"Nov 23 09:59:59 cron[7]: no host"), "|cron|7||no host");
        for plain in ["Nov 23 09:59:59 something happened", "web1 sshd[4711]: x", "Nov 33 09:59:59 a b: c"] {
            assert_eq!(parse(plain.as_bytes(), &clock(0)).format, Format::Plain, "{plain}");
            assert_eq!(parts(plain.as_bytes()), format!("||||{plain}"));
        }
    }

    #[test]
    fn the_names_of_numbers_are_those_of_syslog_conf() {
        let m = parse(b"<165>x", &clock(0));
        assert_eq!(FACILITIES[m.facility as usize], "local4");
        assert_eq!(SEVERITIES[m.severity as usize], "notice");
    }

    #[test]
    fn the_examples_of_rfc_5424_are_understood() {
        let m = parse(
            b"<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - \xef\xbb\xbf'su root' failed for lonvick on /dev/pts/8",
            &clock(0),
        );
        assert_eq!((m.facility, m.severity, m.timestamp), (4, 2, Some(1_065_910_455_003_000_000)));
        assert_eq!(
            parts(b"<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - \xef\xbb\xbf'su root' failed"),
            "mymachine.example.com|su||ID47|'su root' failed"
        );
        assert_eq!(
            parts(b"<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - - %% It's time to make the do-nuts."),
            "192.0.2.1|myproc|8710||%% It's time to make the do-nuts."
        );
        let with_data = b"<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 \
            [exampleSDID@32473 iut=\"3\" eventSource=\"Application\" eventID=\"1011\"][examplePriority@32473 class=\"high\"] text";
        assert_eq!(parts(with_data), "mymachine.example.com|evntslog||ID47|text");
        let m = parse(with_data, &clock(0));
        let params: Vec<_> = m.params(with_data).map(|p| (p.id, p.name, p.raw)).collect();
        assert_eq!(
            params,
            [
                (&b"exampleSDID@32473"[..], &b"iut"[..], &b"3"[..]),
                (b"exampleSDID@32473", b"eventSource", b"Application"),
                (b"exampleSDID@32473", b"eventID", b"1011"),
                (b"examplePriority@32473", b"class", b"high"),
            ]
        );
    }

    #[test]
    fn a_time_with_more_behind_its_zone_is_no_time() {
        for stamp in
            ["2003-10-11T22:14:15.003Z00:00", "2003-10-11T22:14:15Z+00:00", "2003-10-11T22:14:15+00:00Z"]
        {
            let text = format!("<165>1 {stamp} host app 1 ID - text");
            assert_eq!(parse(text.as_bytes(), &clock(0)).timestamp, None, "{stamp}");
            assert_eq!(parts(text.as_bytes()), "host|app|1|ID|text");
        }
    }

    #[test]
    fn what_is_malformed_in_structured_data_is_text() {
        for (tail, message) in [
            ("-", ""),
            ("- ", ""),
            ("- text", "text"),
            ("-  text", " text"),
            ("[a]", ""),
            ("[a] text", "text"),
            ("[a][b c=\"]\"] text", "text"),
            ("[a b=\"\\\"\\]\\\\\"] text", "text"),
            ("[a b=\"\n\0\"] text", "text"),
            // From here on: not structured data.
            ("", ""),
            ("-text", "-text"),
            ("[a]text", "[a]text"),
            ("[a] [b", "[b"),
            ("[a][b text", "[a][b text"),
            ("[] text", "[] text"),
            ("[", "["),
            ("[a", "[a"),
            ("[a ", "[a "),
            ("[a b", "[a b"),
            ("[a b]", "[a b]"),
            ("[a b=]", "[a b=]"),
            ("[a b=\"", "[a b=\""),
            ("[a b=\"\\", "[a b=\"\\"),
            ("[a b=\"\\\"] text", "[a b=\"\\\"] text"),
            ("[a b=\"c\" ] text", "[a b=\"c\" ] text"),
            ("[a  b=\"c\"] text", "[a  b=\"c\"] text"),
            ("[a b =\"c\"] text", "[a b =\"c\"] text"),
            ("[a=b] text", "[a=b] text"),
            ("no data here", "no data here"),
        ] {
            let bytes = format!("<0>1 - - - - - {tail}");
            assert_eq!(parts(bytes.as_bytes()), format!("||||{message}"), "{tail:?}");
            assert_eq!(parse(bytes.as_bytes(), &clock(0)).format, Format::Rfc5424);
        }
    }

    #[test]
    fn escapes_are_taken_away_only_before_what_needs_them() {
        let unescaped = |raw: &[u8]| {
            let mut value = b"> ".to_vec();
            Param { id: b"", name: b"", raw, escaped: true }.unescape_into(&mut value);
            value
        };
        assert_eq!(unescaped(br#"a\"b\]c\\d"#), br#"> a"b]c\d"#);
        assert_eq!(unescaped(br"\\n \n \\\\]"), br"> \n \n \\]");
        assert_eq!(unescaped(br"ends in \"), br"> ends in \");
    }

    #[test]
    fn an_incomplete_header_of_rfc_5424_leaves_its_words_in_the_text() {
        for rest in [
            "1 ",
            "1",
            "1 2026-11-23T10:00:00Z host app 1 ID",
            "1  - - - - -",
            "2 - - - - - - x",
            "12 - - - - - -",
        ] {
            assert_eq!(parts(format!("<13>{rest}").as_bytes()), format!("||||{rest}"));
        }
    }

    #[test]
    fn the_shapes_of_rfc_3164_are_told_apart() {
        for (rest, expected) in [
            ("Oct 11 22:14:15 mymachine su: 'su root' failed", "mymachine|su|||'su root' failed"),
            ("Nov 23 10:00:00 host app[12]: text", "host|app|12||text"),
            ("Nov  3 10:00:00 host app[12]: text", "host|app|12||text"),
            ("Nov 3 10:00:00 host app[12]: text", "host|app|12||text"),
            ("Nov 03 10:00:00.123 host app[12]: text", "host|app|12||text"),
            ("Nov 23 2026 10:00:00 host app: text", "host|app|||text"),
            ("Nov 23 10:00:00 2026 host app: text", "host|app|||text"),
            ("Nov 23 10:00:00 2026", "||||2026"),
            ("2026-11-23T10:00:00.123456+01:00 host app[1]: text", "host|app|1||text"),
            ("2026-11-23T10:00:00Z host text", "host||||text"),
            ("Nov 23 10:00:00 app[12]: text", "|app|12||text"),
            ("Nov 23 10:00:00 app[12] text", "|app|12||text"),
            ("Nov 23 10:00:00 app: text", "|app|||text"),
            ("Nov 23 10:00:00 fe80::1 app:", "fe80::1|app|||"),
            ("Nov 23 10:00:00 [::1] a b", "[::1]||||a b"),
            ("Nov 23 10:00:00 host docker/img:9[7]: text", "host|docker/img:9|7||text"),
            ("Nov 23 10:00:00 host app[]: text", "host|app|||text"),
            ("Nov 23 10:00:00 host a[b]c: text", "host|a[b]c|||text"),
            ("Nov 23 10:00:00 host app:text", "host||||app:text"),
            ("Nov 23 10:00:00 host http://x/ y", "host||||http://x/ y"),
            ("Nov 23 10:00:00 host : text", "host||||: text"),
            ("Nov 23 10:00:00 host  text", "host|||| text"),
            ("Nov 23 10:00:00 host last message repeated 3 times", "host||||last message repeated 3 times"),
            ("Nov 23 10:00:00 last message repeated 3 times", "||||last message repeated 3 times"),
            (
                "Nov 23 10:00:00 --- last message repeated 3 times ---",
                "||||--- last message repeated 3 times ---",
            ),
            ("Nov 23 10:00:00.123: %SYS-5-CONFIG_I: text", "|%SYS-5-CONFIG_I|||text"),
            ("Nov 23 10:00:00  text", "|||| text"),
            ("Nov 23 10:00:00 word", "||||word"),
            ("Nov 23 10:00:00 ", "||||"),
            ("Nov 23 10:00:00", "||||Nov 23 10:00:00"),
            ("app[12]: text", "|app|12||text"),
            ("text only", "||||text only"),
            ("", "||||"),
        ] {
            assert_eq!(parts(format!("<13>{rest}").as_bytes()), expected, "{rest}");
        }
        let long = format!("{}:", "x".repeat(128));
        assert_eq!(parts(format!("<13>{long} text").as_bytes()), format!("||||{long} text"));
        assert_eq!(
            parts(format!("<13>{} text", &long[1..]).as_bytes()),
            format!("|{}|||text", &long[1..128])
        );
    }

    #[test]
    fn a_timestamp_that_is_not_valid_stays_in_the_text_of_rfc_3164() {
        for stamp in [
            "Nov 31 10:00:00",
            "Nov 00 10:00:00",
            "Nov 23 24:00:00",
            "Nov 23 10:60:00",
            "Nov 23 10:00:60",
            "nov 23 10:00:00",
            "Nov 23 10:00:0x",
            "Nov 23 10:00",
            "Nov 23 10:00:00. ",
            "Nov   1 10:00:00",
            "Feb 29 2026 10:00:00",
            "Nov 23 9999 10:00:00",
            "2026-11-31T10:00:00Z",
            "2026-11-23T10:00:00+99:00",
            "0000-01-01T00:00:00Z",
            "9999-12-31T23:59:59Z",
        ] {
            let rest = format!("{stamp} host app: text");
            assert_eq!(parts(format!("<13>{rest}").as_bytes()), format!("||||{rest}"));
        }
    }

    #[test]
    fn what_a_timestamp_leaves_out_comes_from_the_clock() {
        let at = |text: &str, offset| parse(text.as_bytes(), &clock(offset)).timestamp;
        let now = Some(NOW);
        assert_eq!(at("<13>Nov 23 10:00:00 h t", 0), now);
        assert_eq!(at("<13>Nov 23 11:00:00 h t", 3600), now);
        assert_eq!(at("<13>Nov 23 02:00:00 h t", -8 * 3600), now);
        assert_eq!(at("<13>2026-11-23T11:00:00+01:00 h t", -8 * 3600), now);
        assert_eq!(at("<13>1 2026-11-23T11:00:00+01:00 - - - - -", -8 * 3600), now);
        assert_eq!(at("<13>1 2026-11-23T25:00:00Z h a p m - text", 0), None);
    }

    #[test]
    fn hostile_bytes_are_only_bytes() {
        assert_eq!(parts(b"<13>Nov 23 10:00:00 h\0st a\0p[\xff]: \0\xff"), "h\0st|a\0p|\u{fffd}||\0\u{fffd}");
        assert_eq!(parts(b"\0"), "||||\0");
        assert_eq!(parts(b"<13>1 \xff \xff - - - [\xff \xfe=\"\xfd\"] \xef\xbb"), "\u{fffd}||||\u{fffd}");
    }

    /// Texts made of what the grammars are made of, so that most come close to being right.
    fn text() -> impl Strategy<Value = Vec<u8>> {
        let word = prop::sample::select(vec![
            "<13>",
            "<191>",
            "<0>",
            "1 ",
            " ",
            " ",
            "- ",
            "-",
            "host",
            "app",
            "[",
            "]",
            "[12]",
            ":",
            ": ",
            "=",
            "\"",
            "\\",
            "=\"",
            "\" ",
            "\"]",
            "[id ",
            "name=\"value\"",
            "2026-11-23T10:00:00.5Z ",
            "2026-02-29T10:00:00+01:00 ",
            "Nov 23 ",
            "Nov  3 ",
            "Jan 1 ",
            "Feb 29 ",
            "Dec 31 ",
            "10:00:00 ",
            "23:59:59.999 ",
            "2026 ",
            "1969 ",
            "2024",
            "last message repeated ",
            "\u{feff}",
            "\n",
            "\0",
            ".",
            "+",
            "Z",
            "0",
            "text",
        ]);
        let piece = prop_oneof![
            20 => word.prop_map(|word| word.as_bytes().to_vec()),
            1 => any::<u8>().prop_map(|byte| vec![byte]),
        ];
        let start = prop::sample::select(vec![
            "<13>",
            "<165>1 - - - - - ",
            "<34>1 2026-11-23T10:00:00.5+01:00 h a p m ",
            "<13>Nov 23 10:00:00 ",
            "",
        ]);
        (start, prop::collection::vec(piece, 0..20))
            .prop_map(|(start, pieces)| [start.as_bytes(), &pieces.concat()].concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn any_text_is_read_as_the_oracle_reads_it(text in text(), offset in -86_000..86_000i32) {
            prop_assert_eq!(found(&text, &clock(offset)), oracle::parse(&text, NOW, i64::from(offset)));
        }
    }
}
