//! Everything that is wrong with a config at once, each with its place in the file.

use std::fmt;
use std::ops::Range;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong, with the names involved.
    pub message: String,
    /// The bytes of the file it is about; `None` when it is about the file as a whole.
    pub span: Option<Range<usize>>,
    /// What would be right, short enough to stand under the caret; may be empty.
    pub label: String,
    /// Further lines: what is known, where something was written first.
    pub notes: Vec<String>,
}

impl Problem {
    /// A problem at `span`.
    pub fn at(span: Range<usize>, message: impl Into<String>, label: impl Into<String>) -> Self {
        Problem { message: message.into(), span: Some(span), label: label.into(), notes: Vec::new() }
    }

    /// A problem of the file as a whole.
    pub fn whole(message: impl Into<String>) -> Self {
        Problem { message: message.into(), span: None, label: String::new(), notes: Vec::new() }
    }

    /// The same with one more line below.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }
}

/// Why a config was refused: never empty.
#[derive(Debug, Clone)]
pub struct Report {
    /// The file as the user named it.
    name: String,
    text: String,
    problems: Vec<Problem>,
}

/// The most problems worth printing; a file of garbage has one on every line.
const PROBLEMS_SHOWN: usize = 20;
/// The longest piece of a line shown, in characters.
const LINE_SHOWN: usize = 120;

impl Report {
    /// Sorts `problems` by their place in `text`; those without a place come first.
    pub fn new(name: &str, text: &str, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.span.as_ref().map(|span| (span.start, span.end)));
        problems.dedup();
        Report { name: name.into(), text: text.into(), problems }
    }

    /// The problems in the order of the file.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// The text for a person, in colour for a terminal.
    pub fn render(&self, colour: bool) -> String {
        let paint = if colour { Paint::COLOUR } else { Paint::PLAIN };
        let mut out = String::new();
        for problem in self.problems.iter().take(PROBLEMS_SHOWN) {
            self.render_one(&mut out, problem, &paint);
            out.push('\n');
        }
        if let [Problem { span: None, .. }] = &self.problems[..] {
            // A file that cannot be read at all: a sum of one would only say its name again.
            return out.trim_end().to_owned() + "\n";
        }
        let count = self.problems.len();
        let file = printable(&self.name);
        let total = match count {
            1 => format!("`{file}` was refused: 1 error"),
            _ if count > PROBLEMS_SHOWN => {
                format!("`{file}` was refused: {count} errors, the first {PROBLEMS_SHOWN} are shown")
            }
            _ => format!("`{file}` was refused: {count} errors"),
        };
        out.push_str(&format!("{}error{}: {total}\n", paint.error, paint.end));
        out
    }

    fn render_one(&self, out: &mut String, problem: &Problem, paint: &Paint) {
        let Paint { error, frame, bold, end } = paint;
        let message = printable(&problem.message);
        out.push_str(&format!("{error}error{end}{bold}: {message}{end}\n"));
        let mut gutter = 1;
        if let Some(span) = &problem.span {
            let place = Place::of(&self.text, span);
            gutter = place.line.to_string().len();
            let (pad, file) = (" ".repeat(gutter), printable(&self.name));
            let Place { line, column, shown, before, carets } = place;
            let label = printable(&problem.label);
            let space = if label.is_empty() { "" } else { " " };
            let (skip, marks) = (" ".repeat(before), "^".repeat(carets));
            out.push_str(&format!("{pad}{frame}-->{end} {file}:{line}:{column}\n"));
            out.push_str(&format!("{pad} {frame}|{end}\n"));
            out.push_str(&format!("{frame}{line} |{end} {shown}\n"));
            out.push_str(&format!("{pad} {frame}|{end} {skip}{error}{marks}{space}{label}{end}\n"));
        }
        let pad = " ".repeat(gutter);
        for note in &problem.notes {
            out.push_str(&format!("{pad} {frame}={end} {}\n", printable(note)));
        }
    }

    /// Line and column, both from 1, of a byte of the file; the column counts characters.
    pub fn position(text: &str, byte: usize) -> (usize, usize) {
        let place = Place::of(text, &(byte..byte));
        (place.line, place.column)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Report {}

struct Paint {
    error: &'static str,
    frame: &'static str,
    bold: &'static str,
    end: &'static str,
}

impl Paint {
    const PLAIN: Paint = Paint { error: "", frame: "", bold: "", end: "" };
    const COLOUR: Paint = Paint { error: "\x1b[1;31m", frame: "\x1b[1;34m", bold: "\x1b[1m", end: "\x1b[0m" };
}

/// Where a span lies and how its line is shown.
struct Place {
    line: usize,
    column: usize,
    shown: String,
    /// Characters shown before the caret.
    before: usize,
    carets: usize,
}

impl Place {
    fn of(text: &str, span: &Range<usize>) -> Place {
        let start = text.floor_char_boundary(span.start);
        let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |newline| start + newline);
        let line = text[..start].bytes().filter(|byte| *byte == b'\n').count() + 1;
        let end = text.floor_char_boundary(span.end).clamp(start, line_end);
        let column = text[line_start..start].chars().count() + 1;
        let marked = text[start..end].trim_end();
        let mut place = Place {
            line,
            column,
            shown: visible(text[line_start..line_end].trim_end_matches('\r')),
            before: visible(&text[line_start..start]).chars().count(),
            carets: visible(marked).chars().count().max(1),
        };
        place.cut();
        place
    }

    /// Keeps the surroundings of the caret of a line too long to show.
    fn cut(&mut self) {
        let length = self.shown.chars().count();
        if length <= LINE_SHOWN {
            return;
        }
        let from = if self.before < LINE_SHOWN / 2 { 0 } else { self.before - LINE_SHOWN / 4 };
        let piece: String = self.shown.chars().skip(from).take(LINE_SHOWN).collect();
        let (head, tail) =
            (if from > 0 { "..." } else { "" }, if from + LINE_SHOWN < length { "..." } else { "" });
        self.shown = format!("{head}{piece}{tail}");
        self.before = self.before - from + head.len();
        self.carets = self.carets.min(LINE_SHOWN - (self.before - head.len()).min(LINE_SHOWN - 1));
    }
}

/// A line of the file as it can stand above a caret: a tab as two spaces, nothing that steers a terminal.
fn visible(text: &str) -> String {
    printable(&text.replace('\t', "  "))
}

/// Text of the user without characters that steer a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { '\u{fffd}' } else { char }).collect()
}

/// The one of `known` that `written` was probably meant to be.
pub fn did_you_mean<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.to_ascii_lowercase().replace('-', "_");
    let written = plain(written);
    let scored = known.into_iter().map(|name| (strsim::jaro_winkler(&written, &plain(name)), name));
    // 0.8: below it, names of five letters that share two begin to be proposed for each other.
    let close = scored.filter(|(score, _)| *score >= 0.8);
    close.max_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_shown_with_its_line_and_a_caret() {
        let text = "sinks:\n  archive:\n    pathh: ./x\n";
        let start = text.find("pathh").unwrap();
        let problem =
            Problem::at(start..start + 5, "unknown key `pathh` in sink `archive`", "did you mean `path`?")
                .note("known keys: type, path");
        let expected = "\
error: unknown key `pathh` in sink `archive`
 --> config.yaml:3:5
  |
3 |     pathh: ./x
  |     ^^^^^ did you mean `path`?
  = known keys: type, path

error: `config.yaml` was refused: 1 error
";
        assert_eq!(Report::new("config.yaml", text, vec![problem]).to_string(), expected);
    }

    #[test]
    fn a_caret_stays_under_its_word_behind_tabs_and_letters_of_several_bytes() {
        let text = "\täöü: bad\r\n";
        let start = text.find("bad").unwrap();
        let shown = Report::new("f", text, vec![Problem::at(start..start + 3, "m", "")]).to_string();
        assert!(shown.contains("\n1 |   äöü: bad\n  |        ^^^\n"), "{shown}");
    }

    #[test]
    fn a_line_too_long_to_show_is_cut_around_the_caret() {
        let text = format!("{}HERE{}", "a".repeat(5000), "b".repeat(5000));
        let shown = Report::new("f", &text, vec![Problem::at(5000..5004, "m", "l")]).to_string();
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[3].find("HERE"), lines[4].find("^^^^"));
        assert!(lines[3].len() < 140, "{shown}");
    }

    #[test]
    fn nothing_in_the_file_can_steer_the_terminal() {
        let text = "key: \x1b[2Jx";
        let shown = Report::new("f\x1b", text, vec![Problem::at(5..9, "bad \x1b[2J", "\x07")]).to_string();
        assert!(!shown.contains('\x1b') && !shown.contains('\x07'));
    }

    #[test]
    fn a_hint_is_given_for_near_misses_only() {
        let known = ["path", "format", "open_files", "fsync"];
        assert_eq!(did_you_mean("pathh", known), Some("path"));
        assert_eq!(did_you_mean("Open-Files", known), Some("open_files"));
        assert_eq!(did_you_mean("zzz", known), None);
    }
}
