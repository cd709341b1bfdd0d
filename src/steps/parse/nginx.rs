//! Access logs of nginx and Apache to fields, by hand: the common and the combined format.
//!
//! ```text
//! $remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent"
//! ```
//!
//! The common format ends with the bytes. A quoted value behind the combined one is `http_x_forwarded_for` (the `main`
//! format of nginx's packages); whatever else follows is `extra`, as it stands. Fields have the names of nginx's variables,
//! but that a request of three words is `method`, `path` and `protocol`; one that is not stays whole, as `request`. A
//! value of `-` is no field. The entry's time becomes `time_local`, if that can be read.

use super::rows::{Parser, Rows};
use crate::entry::{Kind, Slice};
use crate::steps::StepError;
use crate::steps::constants::Constants;
use crate::steps::set::SetError;
use crate::time::clf;
use memchr::memchr;

/// Reads access logs.
pub struct Nginx {
    names: Names,
}

struct Names {
    remote_addr: Slice,
    remote_user: Slice,
    time_local: Slice,
    request: Slice,
    method: Slice,
    path: Slice,
    protocol: Slice,
    status: Slice,
    body_bytes_sent: Slice,
    referer: Slice,
    user_agent: Slice,
    forwarded_for: Slice,
    extra: Slice,
}

impl Nginx {
    /// A parser; its names go to `constants`.
    ///
    /// Errors: the constants are full.
    pub fn new(constants: &mut Constants) -> Result<Self, SetError> {
        let mut add = |name: &str| constants.intern(name.as_bytes()).ok_or(SetError::TooLarge);
        Ok(Nginx {
            names: Names {
                remote_addr: add("remote_addr")?,
                remote_user: add("remote_user")?,
                time_local: add("time_local")?,
                request: add("request")?,
                method: add("method")?,
                path: add("path")?,
                protocol: add("protocol")?,
                status: add("status")?,
                body_bytes_sent: add("body_bytes_sent")?,
                referer: add("http_referer")?,
                user_agent: add("http_user_agent")?,
                forwarded_for: add("http_x_forwarded_for")?,
                extra: add("extra")?,
            },
        })
    }
}

const NO_HEAD: StepError = StepError::Malformed("no access log: ADDRESS - USER [TIME] at its beginning");
const NO_REQUEST: StepError = StepError::Malformed("no access log: no \"REQUEST\" behind the time");
const NO_STATUS: StepError = StepError::Malformed("no access log: no STATUS BYTES behind the request");
const NO_CLIENT: StepError = StepError::Malformed("no access log: a quote that does not end");

impl Parser for Nginx {
    type Scratch = ();

    fn scratch(&self, _now: i64) {}

    #[inline]
    fn read(&self, text: &[u8], rows: &mut Rows<'_>, (): &mut ()) -> Result<(), StepError> {
        let names = &self.names;
        let address = memchr(b' ', text).filter(|len| *len > 0).ok_or(NO_HEAD)?;
        rows.push(names.remote_addr, rows.slice(0, address), Kind::Plain)?;
        // The identity of RFC 1413, which nobody knows, is one word; a user's name may have blanks in it.
        let ident = address + 1;
        let user = ident + memchr(b' ', &text[ident..]).ok_or(NO_HEAD)? + 1;
        let time = user + memchr(b'[', &text[user..]).ok_or(NO_HEAD)? + 1;
        if time < user + 2 || text[time - 2] != b' ' {
            return Err(NO_HEAD);
        }
        if &text[user..time - 2] != b"-" {
            rows.push(names.remote_user, rows.slice(user, time - 2), Kind::Plain)?;
        }
        let behind = time + memchr(b']', &text[time..]).ok_or(NO_HEAD)?;
        rows.push(names.time_local, rows.slice(time, behind), Kind::Plain)?;
        if let Some(time) = clf(&text[time..behind]) {
            rows.set_time(time);
        }

        let request = begin_quoted(text, behind + 1).ok_or(NO_REQUEST)?;
        let end = end_quoted(text, request).ok_or(NO_REQUEST)?;
        self.request(text, request, end, rows)?;

        let status = word_at(text, end + 1).ok_or(NO_STATUS)?;
        rows.push_text(names.status, text, status.0, status.1)?;
        let bytes = word_at(text, status.1).ok_or(NO_STATUS)?;
        if &text[bytes.0..bytes.1] != b"-" {
            rows.push_text(names.body_bytes_sent, text, bytes.0, bytes.1)?;
        }

        let mut at = bytes.1;
        for name in [names.referer, names.user_agent, names.forwarded_for] {
            let Some(start) = begin_quoted(text, at) else { break };
            let end = end_quoted(text, start).ok_or(NO_CLIENT)?;
            if &text[start..end] != b"-" {
                rows.push(name, rows.slice(start, end), Kind::Plain)?;
            }
            at = end + 1;
        }
        match text.get(at..) {
            Some([b' ', extra @ ..]) if !extra.is_empty() => {
                rows.push(names.extra, rows.slice(at + 1, text.len()), Kind::Plain)
            }
            None | Some([] | b" ") => Ok(()),
            Some(_) => Err(NO_CLIENT),
        }
    }
}

impl Nginx {
    #[inline]
    fn request(&self, text: &[u8], start: usize, end: usize, rows: &mut Rows<'_>) -> Result<(), StepError> {
        let (names, request) = (&self.names, &text[start..end]);
        let words = memchr(b' ', request).zip(memchr::memrchr(b' ', request)).filter(|(first, last)| {
            let method = &request[..*first];
            let named =
                !method.is_empty() && method.iter().all(|byte| byte.is_ascii_alphabetic() || *byte == b'-');
            named && first + 1 < *last && last + 1 < request.len()
        });
        let Some((first, last)) = words else {
            return rows.push(names.request, rows.slice(start, end), Kind::Plain);
        };
        rows.push(names.method, rows.slice(start, start + first), Kind::Plain)?;
        rows.push(names.path, rows.slice(start + first + 1, start + last), Kind::Plain)?;
        rows.push(names.protocol, rows.slice(start + last + 1, end), Kind::Plain)
    }
}

/// The blank and the quote at `at`: where what is quoted begins.
#[inline]
fn begin_quoted(text: &[u8], at: usize) -> Option<usize> {
    (text.get(at..at + 2)? == b" \"").then_some(at + 2)
}

/// Where the quote closes that opened before `start`. nginx writes quotes inside as `\x22`, Apache as `\"`.
#[inline]
fn end_quoted(text: &[u8], start: usize) -> Option<usize> {
    let mut from = start;
    loop {
        let at = from + memchr(b'"', text.get(from..)?)?;
        let escapes = text[start..at].iter().rev().take_while(|byte| **byte == b'\\').count();
        if escapes % 2 == 0 {
            return Some(at);
        }
        from = at + 1;
    }
}

/// The word behind the blank at `at`: where it begins and ends.
#[inline]
fn word_at(text: &[u8], at: usize) -> Option<(usize, usize)> {
    let rest = text.get(at..)?.strip_prefix(b" ")?;
    let len = rest.iter().take_while(|byte| **byte != b' ').count();
    (len > 0).then_some((at + 1, at + 1 + len))
}

// Shared with the fuzz target.
#[cfg(test)]
#[path = "../../../fuzz/src/oracle_nginx.rs"]
mod oracle;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::Step;
    use crate::steps::parse::input::Input;
    use crate::steps::parse::rows::Parse;
    use crate::steps::parse::rows::tests::{block_of, shown};
    use proptest::prelude::*;

    fn parsed(lines: &[&[u8]]) -> (crate::block::Block, usize) {
        let mut constants = Constants::default();
        let step = Parse::new(Nginx::new(&mut constants).unwrap(), Input::Message);
        let mut block = block_of(lines, constants);
        let errors = step.run_alone(&mut block, 0..lines.len());
        (block, errors)
    }

    fn read(text: &[u8]) -> Option<Vec<oracle::Pair>> {
        let (block, errors) = parsed(&[text]);
        let pair = |field: crate::block::FieldView<'_>| (field.key().to_vec(), field.raw().to_vec());
        (errors == 0).then(|| block.view(0).fields().map(pair).collect())
    }

    #[test]
    fn the_common_and_the_combined_format_are_read() {
        let (block, errors) = parsed(&[
            br#"192.0.2.1 - alice [10/Oct/2000:13:55:36 -0700] "GET /a?b=c HTTP/1.1" 200 2326 "http://x/" "Mozilla/5.0 (X11; \x22q\x22)" "10.0.0.1""#,
            br#"::1 - - [23/Nov/2026:10:00:00 +0000] "POST / HTTP/2.0" 499 - "#,
            br#"h i o n [t] "\x16\x03" 400 0 "-" "-" rt=0.1 up="x""#,
            br#"h - - [10/Oct/2000:13:55:36 +0000] "GET /\" x HTTP/1.0" 200 5 "a\\" "b" "-" 7"#,
        ]);
        assert_eq!(errors, 0);
        assert_eq!(
            shown(&block, 0),
            [
                "remote_addr=192.0.2.1:Plain",
                "remote_user=alice:Plain",
                "time_local=10/Oct/2000:13:55:36 -0700:Plain",
                "method=GET:Plain",
                "path=/a?b=c:Plain",
                "protocol=HTTP/1.1:Plain",
                "status=200:Number",
                "body_bytes_sent=2326:Number",
                "http_referer=http://x/:Plain",
                "http_user_agent=Mozilla/5.0 (X11; \\x22q\\x22):Plain",
                "http_x_forwarded_for=10.0.0.1:Plain",
            ]
        );
        assert_eq!(block.entries()[0].time, 971_211_336_000_000_000);
        assert!(shown(&block, 1).ends_with(&["protocol=HTTP/2.0:Plain".into(), "status=499:Number".into()]));
        assert_eq!(
            shown(&block, 2),
            [
                "remote_addr=h:Plain",
                "remote_user=o n:Plain",
                "time_local=t:Plain",
                "request=\\x16\\x03:Plain",
                "status=400:Number",
                "body_bytes_sent=0:Number",
                "extra=rt=0.1 up=\"x\":Plain",
            ]
        );
        assert_eq!(block.entries()[2].flags & crate::entry::Entry::OWN_TIME, 0, "`t` is no time");
        let last = shown(&block, 3);
        assert!(
            last.contains(&"path=/\\\" x:Plain".into()) && last.contains(&"extra=7:Plain".into()),
            "{last:?}"
        );
        assert!(last.contains(&"http_referer=a\\\\:Plain".into()));
    }

    #[test]
    fn what_is_no_access_log_is_refused_and_leaves_nothing_behind() {
        for text in [
            "",
            " ",
            "a",
            "a b",
            "a b c",
            "a - -[t] \"r\" 1 2",
            "a - - [t \"r\" 1 2",
            "a - - [t] r 1 2",
            "a - - [t] \"r 1 2",
            "a - - [t] \"r\"",
            "a - - [t] \"r\" 1",
            "a - - [t] \"r\" 1 ",
            "a - - [t] \"r\" 1 2 \"x",
            "a - - [t] \"r\" 1 2 \"x\"y",
            "2026-11-23 just a line",
        ] {
            assert_eq!(read(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_read_as_the_oracle_reads_it(
            text in prop_oneof![
                "[a1:]{1,3} [-a]{1,2} [-a b]{1,4} \\[[a0 /]{0,4}\\] \"[A-C \\\\\"/x]{0,9}\" [0-9]{1,3} [-0-9]{1,3}( \"[-a\\\\\" ]{0,3}\"){0,4}[ x\"]{0,3}".prop_map(String::into_bytes),
                "[a\\[\\] \"-]{0,20}".prop_map(String::into_bytes),
                prop::collection::vec(any::<u8>(), 0..40),
            ],
        ) {
            prop_assert_eq!(read(&text), oracle::fields(&text));
        }
    }
}
