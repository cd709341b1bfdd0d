//! What an answer means for the entries that were sent.

use super::Answer;
use crate::batch::Said;
use jiff::fmt::rfc2822;
use std::time::{Duration, SystemTime};

/// The longest that a destination's `Retry-After` is obeyed.
const AFTER_MAX: Duration = Duration::from_secs(3600);
/// How much of an answer is shown, in characters.
const EXCERPT_MAX: usize = 200;
/// Shorter words are not looked for among what was sent.
const WORD_MIN: usize = 4;

/// What became of one request.
#[derive(Debug)]
pub enum Verdict {
    /// All of it was taken.
    Taken,
    /// It was taken but for these entries, by their place in the batch.
    TakenBut(Vec<(usize, Said)>),
    /// It was refused as a whole: something in it is wrong.
    Refused(Said),
    /// The destination could not work on it, which may be its own fault or that of what was sent.
    Failed {
        /// What it said.
        said: Said,
        /// How long it asked to be left alone.
        after: Option<Duration>,
    },
    /// It may be taken later.
    Retry {
        /// What happened.
        why: String,
        /// How long the destination asked to be left alone.
        after: Option<Duration>,
        /// Whether requests for someone else may fare better meanwhile.
        others_may: bool,
    },
    /// We are not let in.
    Denied(Said),
}

impl Verdict {
    /// There was no answer.
    pub fn unanswered(why: String) -> Self {
        Verdict::Retry { why, after: None, others_may: false }
    }
}

/// What the status says (RFC 9110, 15; RFC 4918, 11.5 for 507); `sent` is what the body was before it was packed.
///
/// Only what says that the *data* is wrong refuses entries; what says that the request is wrong asks for a person.
pub fn judge(answer: &Answer, sent: &[u8]) -> Verdict {
    let status = answer.status;
    let why = || match excerpt(&answer.body, sent) {
        said if said.is_empty() => format!("it answers {status}"),
        said => format!("it answers {status}: {said}"),
    };
    let said = || Said::with_status(why(), status);
    match status {
        200..300 => Verdict::Taken,
        300..400 => {
            let hint = "redirects are not followed, put where it leads into the `url`";
            Verdict::Denied(Said::with_status(format!("it answers {status}: {hint}"), status))
        }
        400 | 413 | 422 => Verdict::Refused(said()),
        408 | 425 | 429 | 502 | 503 | 504 | 507 => {
            Verdict::Retry { why: why(), after: answer.retry_after, others_may: status == 429 }
        }
        500.. => Verdict::Failed { said: said(), after: answer.retry_after },
        _ => Verdict::Denied(said()),
    }
}

/// The beginning of an answer on one line. Words that were sent are left out: an answer that repeats what an entry says
/// must not put it into our own log.
pub fn excerpt(body: &[u8], sent: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(4 * EXCERPT_MAX)]);
    let (mut out, mut word) = (String::new(), String::new());
    let end_word = |word: &mut String, out: &mut String| {
        let known = word.len() >= WORD_MIN && memchr::memmem::find(sent, word.as_bytes()).is_some();
        out.push_str(if known { "…" } else { word });
        word.clear();
    };
    for letter in text.trim().chars().take(EXCERPT_MAX) {
        match letter {
            letter if letter.is_alphanumeric() => word.push(letter),
            letter => {
                end_word(&mut word, &mut out);
                out.push(if letter.is_control() { ' ' } else { letter });
            }
        }
    }
    end_word(&mut word, &mut out);
    out
}

/// How long a `Retry-After` header (RFC 9110, 10.2.3) asks to wait: seconds, or a date by the clock of whoever wrote
/// `date`, else by ours.
pub(super) fn retry_after(asked: &str, date: Option<&str>, now: SystemTime) -> Option<Duration> {
    let asked = asked.trim();
    if let Ok(seconds) = asked.parse::<u64>() {
        return Some(Duration::from_secs(seconds).min(AFTER_MAX));
    }
    let instant = |text: &str| {
        let time = rfc2822::DateTimeParser::new().relaxed_weekday(true).parse_timestamp(text.trim()).ok()?;
        Some(SystemTime::from(time))
    };
    let until = instant(asked)?;
    let now = date.and_then(instant).unwrap_or(now);
    Some(until.duration_since(now).unwrap_or_default().min(AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16) -> &'static str {
        match judge(&Answer { status, retry_after: None, body: b"no".into() }, b"") {
            Verdict::Taken => "taken",
            Verdict::TakenBut(_) => "taken but",
            Verdict::Refused(_) => "refused",
            Verdict::Retry { .. } => "retry",
            Verdict::Failed { .. } => "failed",
            Verdict::Denied(_) => "denied",
        }
    }

    #[test]
    fn a_status_says_whether_the_data_the_request_or_the_moment_is_wrong() {
        for (word, statuses) in [
            ("taken", &[200, 201, 202, 204, 299][..]),
            ("refused", &[400, 413, 422]),
            ("retry", &[408, 425, 429, 502, 503, 504, 507]),
            ("failed", &[500, 501, 505, 506, 508, 529, 599, 999]),
            (
                "denied",
                &[301, 302, 304, 307, 308, 401, 402, 403, 404, 405, 407, 410, 411, 415, 426, 451, 499, 100],
            ),
        ] {
            for status in statuses {
                assert_eq!(judged(*status), word, "{status}");
            }
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_bounded() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_767);
        let after = |asked, date| retry_after(asked, date, now);
        let seconds = |n| Some(Duration::from_secs(n));
        assert_eq!(after(" 120 ", None), seconds(120));
        assert_eq!(after("99999999999", None), Some(AFTER_MAX));
        assert_eq!(after("Sun, 06 Nov 1994 08:49:37 GMT", None), seconds(10));
        assert_eq!(
            after("Sun, 06 Nov 1994 08:49:37 GMT", Some("Sun, 06 Nov 1994 08:48:37 GMT")),
            seconds(60)
        );
        assert_eq!(after("Sun, 06 Nov 1993 08:49:37 GMT", None), seconds(0));
        assert_eq!(after("Fri, 01 Jan 2100 00:00:00 GMT", None), Some(AFTER_MAX));
        for wrong in ["", "-1", "1.5", "soon", "99999999999999999999999"] {
            assert_eq!(after(wrong, None), None, "{wrong}");
        }
    }

    #[test]
    fn an_answer_is_shown_on_one_line_without_what_it_repeats_of_the_entries() {
        let sent = br#"{"message":"password=hunter2secret"}"#;
        let said = excerpt(b"bad\r\nentry \x1b[31m: password=hunter2secret, field age", sent);
        assert_eq!(said, "bad  entry  [31m: …=…, field age");
        assert_eq!(excerpt(&b"ab ".repeat(1000), b"").chars().count(), EXCERPT_MAX);
        assert_eq!(excerpt(b"\xff\xfe", b""), "\u{fffd}\u{fffd}");
    }
}
