//! Pieces to lines, lines to events: what one stream of a container has begun and not ended.
//!
//! A [`Joiner`] is given pieces one after the other, and after each asked for what is complete. It keeps what is asked for
//! until it was told that it was taken, so that a caller without room can come again. Its memory is bounded by the longest
//! line and the longest event; of a longer line the beginning goes out, marked as cut.

use super::Piece;
use crate::sources::multiline::{Joined, Open, Rules};
use std::sync::Arc;

/// Something complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done<'a> {
    /// The line, or the lines of an event with newlines between them.
    pub text: &'a [u8],
    /// When its first line began.
    pub time: Option<i64>,
    /// It is the beginning of a longer line.
    pub cut: bool,
}

#[derive(Clone, Copy, Debug)]
struct Ready {
    len: usize,
    /// How much of the text goes with it.
    takes: usize,
    time: Option<i64>,
    cut: bool,
}

/// One stream's open line and event.
#[derive(Debug)]
pub struct Joiner {
    max_line: usize,
    rules: Option<Arc<Rules>>,
    /// The open event's lines, each with its newline, and then the open line.
    text: Vec<u8>,
    open: Open,
    event_time: Option<i64>,
    line: Line,
    ready: Option<Ready>,
}

/// The line behind the open event.
#[derive(Clone, Copy, Debug, Default)]
struct Line {
    begun: bool,
    time: Option<i64>,
    cut: bool,
    /// It has ended, and it is not known yet what it belongs to.
    ended: bool,
}

impl Joiner {
    /// Lines of at most `max_line` bytes, put together by `rules`, if there are any.
    pub fn new(max_line: usize, rules: Option<Arc<Rules>>) -> Self {
        let (text, open, line) = (Vec::new(), Open::default(), Line::default());
        Joiner { max_line, rules, text, open, event_time: None, line, ready: None }
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty() && !self.line.begun
    }

    /// Whether an event is open that the next line may belong to, and no line behind it.
    pub fn has_event(&self) -> bool {
        self.open.bytes() > 0 && !self.line.begun
    }

    /// Whether a line has ended that is not part of what [`Joiner::done`] gave last.
    pub fn has_waiting_line(&self) -> bool {
        self.line.ended
    }

    /// When what is kept began, by its engine.
    pub fn since(&self) -> Option<i64> {
        if self.open.bytes() > 0 { self.event_time } else { self.line.time }
    }

    /// Bytes kept.
    pub fn kept(&self) -> usize {
        self.text.len()
    }

    /// Whether the piece is an entry as it is: it need not be added.
    pub fn passes(&self, piece: &Piece<'_>) -> bool {
        piece.ends && self.rules.is_none() && self.is_empty() && piece.text.len() <= self.max_line
    }

    /// Adds a piece. Only when [`Joiner::done`] has nothing more to give.
    pub fn add(&mut self, piece: &Piece<'_>) {
        if !self.line.begun {
            self.line = Line { begun: true, time: piece.time, ..Line::default() };
        }
        let room = self.max_line - (self.text.len() - self.open.bytes()).min(self.max_line);
        let take = piece.text.len().min(room);
        self.line.cut |= take < piece.text.len();
        self.text.extend_from_slice(&piece.text[..take]);
        self.line.ended = piece.ends;
    }

    /// Whether a line is open.
    pub fn is_in_line(&self) -> bool {
        self.line.begun
    }

    /// The line that is open goes out as far as it is there, marked as cut. False: there is none, or it is complete.
    pub fn cut_line(&mut self) -> bool {
        if !self.line.begun || self.line.ended {
            return false;
        }
        (self.line.cut, self.line.ended) = (true, true);
        true
    }

    /// The line that is open ends here, though nobody said so.
    pub fn end_line(&mut self) {
        self.line.ended = self.line.begun;
    }

    /// The event that is open ends here, though more may belong to it.
    pub fn end_event(&mut self) {
        if self.ready.is_none() {
            self.end_before();
        }
    }

    /// What is complete, to be taken next: see [`Joiner::took`].
    pub fn done(&mut self) -> Option<Done<'_>> {
        if self.ready.is_none() && self.line.ended {
            self.judge();
        }
        let ready = self.ready?;
        let Ready { len, time, cut, .. } = ready;
        Some(Done { text: &self.text[..len], time, cut })
    }

    /// What [`Joiner::done`] gave was taken.
    pub fn took(&mut self) {
        let Some(ready) = self.ready.take() else { return };
        self.text.drain(..ready.takes);
        // A stream that once had a long line does not keep the memory.
        if self.text.is_empty() && self.text.capacity() > 64 << 10 {
            self.text = Vec::new();
        }
    }

    /// Decides what the line that has ended belongs to.
    fn judge(&mut self) {
        let Line { time, cut, .. } = self.line;
        let Some(rules) = self.rules.clone() else { return self.alone(time, cut) };
        if cut {
            // It stands alone, after what came before it.
            if !self.end_before() {
                self.alone(time, true);
            }
            return;
        }
        let before = self.open.bytes();
        match rules.take(&mut self.open, &self.text[before..]) {
            Joined::EndsBefore => {
                self.end_before();
            }
            joined => {
                if before == 0 {
                    self.event_time = time;
                }
                self.line = Line::default();
                if joined == Joined::EndsWith {
                    let (len, time) = (self.text.len(), self.event_time);
                    self.open = Open::default();
                    self.ready = Some(Ready { len, takes: len, time, cut: false });
                } else {
                    self.text.push(b'\n');
                }
            }
        }
    }

    /// The line goes out by itself: nothing stands before it.
    fn alone(&mut self, time: Option<i64>, cut: bool) {
        let len = self.text.len();
        self.line = Line::default();
        self.ready = Some(Ready { len, takes: len, time, cut });
    }

    /// The open event has ended before the line behind it. False: there is none.
    fn end_before(&mut self) -> bool {
        let bytes = std::mem::take(&mut self.open).bytes();
        if bytes == 0 {
            return false;
        }
        let time = self.event_time;
        self.ready = Some(Ready { len: bytes - 1, takes: bytes, time, cut: false });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::containers::Std;
    use crate::sources::multiline::pattern::Pattern;
    use crate::sources::multiline::{Rule, oracle};
    use std::time::Duration;

    fn rules(max_lines: usize, max_bytes: usize) -> Arc<Rules> {
        let rule = Rule::Start(Pattern::compile("^[A-Z]").unwrap());
        Arc::new(Rules { rule, max_lines, max_bytes, timeout: Duration::from_secs(1) })
    }

    fn piece(time: i64, text: &[u8], ends: bool) -> Piece<'_> {
        Piece { std: Std::Out, time: Some(time), text, ends }
    }

    fn all(joiner: &mut Joiner, out: &mut Vec<(Vec<u8>, i64, bool)>) {
        while let Some(done) = joiner.done() {
            let again = (done.text.to_vec(), done.time.unwrap(), done.cut);
            // Whoever had no room is told the same.
            let done = joiner.done().unwrap();
            assert_eq!((done.text, done.time.unwrap(), done.cut), (&again.0[..], again.1, again.2));
            out.push(again);
            joiner.took();
        }
    }

    #[test]
    fn pieces_become_lines_with_the_time_of_the_first_and_too_long_ones_are_cut_once() {
        let (mut joiner, mut out) = (Joiner::new(10, None), Vec::new());
        for (time, text, ends) in [
            (1, "abc", false),
            (2, "def", false),
            (3, "", true),
            (4, "", true),
            (5, "0123456789", true),
            (6, "01234", false),
            (7, "56789x", false),
            (8, "yz", true),
            (9, "end", true),
        ] {
            joiner.add(&piece(time, text.as_bytes(), ends));
            all(&mut joiner, &mut out);
        }
        let told: Vec<_> =
            out.iter().map(|(text, time, cut)| (std::str::from_utf8(text).unwrap(), *time, *cut)).collect();
        let long = "0123456789";
        assert_eq!(
            told,
            [("abcdef", 1, false), ("", 4, false), (long, 5, false), (long, 6, true), ("end", 9, false)]
        );
        assert!(joiner.is_empty());
        joiner.add(&piece(1, b"open", false));
        assert_eq!(joiner.done(), None);
        assert_eq!((joiner.since(), joiner.kept()), (Some(1), 4));
        joiner.end_line();
        all(&mut joiner, &mut out);
        assert_eq!(out.last(), Some(&(b"open".to_vec(), 1, false)));
    }

    #[test]
    fn an_event_has_the_time_of_its_first_line_and_says_whether_the_last_line_is_in_it() {
        let mut joiner = Joiner::new(100, Some(rules(3, 100)));
        let line = |joiner: &mut Joiner, time, text: &str| {
            joiner.add(&piece(time, text.as_bytes(), true));
            let done = joiner
                .done()
                .map(|done| (String::from_utf8(done.text.to_vec()).unwrap(), done.time.unwrap()));
            let done = done.map(|(text, time)| (text, time, !joiner.has_waiting_line()));
            joiner.took();
            assert!(done.is_none() || joiner.done().is_none());
            done
        };
        assert_eq!(line(&mut joiner, 1, "One"), None);
        assert_eq!(line(&mut joiner, 2, " more"), None);
        assert!(joiner.has_event() && joiner.since() == Some(1));
        assert_eq!(line(&mut joiner, 3, "Two"), Some(("One\n more".into(), 1, false)));
        assert_eq!(joiner.done(), None);
        assert_eq!(line(&mut joiner, 4, " a"), None);
        assert_eq!(
            line(&mut joiner, 5, " b"),
            Some(("Two\n a\n b".into(), 3, true)),
            "as many as there may be"
        );
        assert_eq!(line(&mut joiner, 6, " late"), None);
        joiner.end_event();
        assert_eq!(joiner.done().map(|done| done.text), Some(&b" late"[..]));
        assert!(!joiner.has_waiting_line());
        joiner.took();
        assert!(joiner.is_empty());
    }

    #[test]
    fn events_are_those_of_the_same_lines_in_a_file() {
        let mut random = fastrand::Rng::with_seed(5);
        for round in 0..300 {
            let (max_line, max_lines, max_bytes) =
                (random.usize(1..60), random.usize(1..6), random.usize(1..90));
            let lines: Vec<String> = (0..40)
                .map(|_| {
                    let first = if random.u8(0..4) == 0 { "A" } else { " " };
                    first.to_owned() + &"x".repeat(random.usize(0..70))
                })
                .collect();
            let (mut joiner, mut out) =
                (Joiner::new(max_line, Some(rules(max_lines, max_bytes))), Vec::new());
            for line in &lines {
                let (a, b) = line.split_at(random.usize(0..=line.len()));
                joiner.add(&piece(0, a.as_bytes(), false));
                all(&mut joiner, &mut out);
                joiner.add(&piece(0, b.as_bytes(), true));
                all(&mut joiner, &mut out);
            }
            joiner.end_event();
            all(&mut joiner, &mut out);
            let text = lines.join("\n") + "\n";
            let limits = oracle::Limits { line: max_line, lines: max_lines, bytes: max_bytes };
            let wanted = oracle::events(
                text.as_bytes(),
                &limits,
                |line| !matches!(line, [b'A'..=b'Z', ..]),
                |_| false,
            );
            let got: Vec<_> = out.into_iter().map(|(text, _, cut)| (text, cut)).collect();
            assert_eq!(got, wanted, "round {round}");
        }
    }
}
