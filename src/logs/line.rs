//! How a message reads: `2026-11-23T10:00:00Z WARN  message key=value`, or `<4>message` for the system's journal.

use crate::clock::UnixNanos;
use std::fmt::{Debug, Write};
use tracing::Level;
use tracing::field::{Field, Visit};

/// Who reads the lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// A person or a file: time and level in front.
    Plain,
    /// The system's journal, which notes the time itself: only the priority in front (sd-daemon(3)).
    Journal,
}

impl Style {
    /// The journal if stderr is what `JOURNAL_STREAM` says: the device and inode of the journal's socket
    /// (systemd.exec(5)). The variable alone is inherited by children that write elsewhere.
    pub fn of_stderr() -> Self {
        let stream = std::env::var("JOURNAL_STREAM").unwrap_or_default();
        let stderr = rustix::fs::fstat(std::io::stderr());
        match stderr {
            Ok(stat) if stream == format!("{}:{}", stat.st_dev, stat.st_ino) => Style::Journal,
            _ => Style::Plain,
        }
    }

    /// The message as one line, control characters escaped, with its newline.
    pub fn line(self, level: Level, now: UnixNanos, text: &str, more: &str) -> String {
        let mut line = match self {
            Style::Plain => {
                let time = jiff::Timestamp::from_second(now.div_euclid(1_000_000_000)).unwrap_or_default();
                format!("{time} {level:<5} ")
            }
            Style::Journal => format!("<{}>", priority(level)),
        };
        for part in [text, more] {
            for char in part.chars() {
                if char.is_control() {
                    line.extend(char.escape_default());
                } else {
                    line.push(char);
                }
            }
        }
        line.push('\n');
        line
    }
}

/// The priority of syslog(3) for `level`.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

/// What an event says: its message, then its other fields as ` key=value`.
#[derive(Debug, Default)]
pub struct Words {
    /// The message and the fields.
    pub text: String,
    /// The field `cause`, which is not part of the text.
    pub cause: Option<String>,
}

impl Visit for Words {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing to a string cannot fail.
        let _ = match field.name() {
            "message" => {
                let fields = std::mem::take(&mut self.text);
                write!(self.text, "{value:?}{fields}")
            }
            "cause" => {
                self.cause = Some(format!("{value:?}"));
                Ok(())
            }
            name => write!(self.text, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixNanos = 1_795_428_000_123_456_789;

    #[test]
    fn a_line_has_time_and_level_for_people_and_a_priority_for_the_journal() {
        let line =
            |style: Style| style.line(Level::WARN, NOW, "sink out: 3 entries kept", " (and 2 more like it)");
        let text = "sink out: 3 entries kept (and 2 more like it)\n";
        assert_eq!(line(Style::Plain), format!("2026-11-23T10:00:00Z WARN  {text}"));
        assert_eq!(line(Style::Journal), format!("<4>{text}"));
    }

    #[test]
    fn a_message_cannot_forge_a_second_line_or_paint_the_terminal() {
        let line = Style::Plain.line(Level::INFO, NOW, "file \"a\n<3>b\u{1b}[31m\" \u{85}ü", "");
        assert!(line.ends_with("file \"a\\n<3>b\\u{1b}[31m\" \\u{85}ü\n"), "{line}");
        assert_eq!(line.matches('\n').count(), 1);
    }
}
