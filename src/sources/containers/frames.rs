//! The messages in the body of an engine's answer to `/containers/ID/logs` with `timestamps=1`.
//!
//! Without a terminal each message is a frame: eight bytes that say the stream (0 input, 1 output, 2 errors, 3 the engine's
//! own trouble), three zeros and the length, big-endian, then a time, a blank and the text, with a newline unless the
//! line goes on in the next. With a terminal there is one stream and no frames: times and lines follow each other. The two
//! are told apart by the first byte: a time begins with a digit. (Docker Engine API, "Attach to a container".)
//!
//! A line on a terminal that Docker cut in two has the time once more where it was cut, every 16 KiB; it is taken out.
//! Nothing is kept but a header or a time: text is handed out as it comes. The same bytes give the same lines however
//! they are cut.

use super::{Piece, Std};
use crate::time::rfc3339;
use memchr::memchr;

/// Longest time that is looked for, in bytes.
const STAMP_MAX: usize = 40;
/// Where Docker cuts a line.
const CUT: usize = 16 << 10;

/// Why a body cannot be read on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bad {
    /// There is no header where one should be.
    NoFrame,
    /// The engine says what ails it.
    Engine(String),
}

impl std::fmt::Display for Bad {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Bad::NoFrame => f.write_str("its log is not in frames"),
            Bad::Engine(says) => write!(f, "the engine says: {says}"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Unknown,
    Frames,
    Terminal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// In a frame's header.
    Header,
    /// In a time, or where one should be.
    Stamp,
    /// Behind what is no time after all, which is in `stamp`.
    NoStamp,
    Text,
    /// Where a line of a terminal may have been cut: so many bytes of its time were met.
    Again(usize),
}

/// Finds the messages of one body.
#[derive(Debug)]
pub struct Frames {
    form: Form,
    at: At,
    header: [u8; 8],
    header_len: usize,
    /// Bytes left of the frame.
    left: usize,
    std: Std,
    stamp: Vec<u8>,
    /// What is in `stamp` is over.
    fresh: bool,
    time: Option<i64>,
    /// Bytes of the line on a terminal so far.
    taken: usize,
    /// The last of them is a CR that may be of the line's end.
    cr: bool,
    trouble: Option<Vec<u8>>,
}

impl Default for Frames {
    fn default() -> Self {
        Frames {
            form: Form::Unknown,
            at: At::Header,
            header: [0; 8],
            header_len: 0,
            left: 0,
            std: Std::Out,
            stamp: Vec::new(),
            fresh: false,
            time: None,
            taken: 0,
            cr: false,
            trouble: None,
        }
    }
}

impl Frames {
    /// The next piece in `input` at or behind `at`, which moves behind what is done with; `None`: all of it is.
    pub fn next<'a>(&'a mut self, input: &'a [u8], at: &mut usize) -> Result<Option<Piece<'a>>, Bad> {
        if self.form == Form::Unknown {
            let Some(first) = input.get(*at) else { return Ok(None) };
            (self.form, self.at) = match first {
                0..=3 => (Form::Frames, At::Header),
                b'0'..=b'9' => (Form::Terminal, At::Stamp),
                _ => return Err(Bad::NoFrame),
            };
        }
        loop {
            let rest = &input[*at..];
            match self.at {
                At::Header => {
                    if !self.read_header(rest, at)? {
                        return Ok(None);
                    }
                }
                At::Stamp => match self.read_stamp(rest, at) {
                    Some(()) => {}
                    None => return Ok(None),
                },
                At::NoStamp => {
                    let ends = self.ends_unstamped();
                    let text = &self.stamp[..self.stamp.len() - usize::from(ends)];
                    return Ok(Some(Piece { std: self.std, time: None, text, ends }));
                }
                At::Again(met) => {
                    if !self.read_again(rest, at, met) {
                        return Ok(None);
                    }
                    if let At::Again(met) = self.at {
                        // It only looked like one: those bytes are the line's.
                        self.at = At::Text;
                        self.taken += met;
                        if met == 0 {
                            continue;
                        }
                        let (std, time) = (self.std, self.time);
                        return Ok(Some(Piece { std, time, text: &self.stamp[..met], ends: false }));
                    }
                }
                At::Text => {
                    let time = self.time;
                    let found = if self.form == Form::Frames { self.framed(rest) } else { self.raw(rest) };
                    let Some((text, used, ends)) = found else { return Ok(None) };
                    *at += used;
                    if text.is_empty() && !ends {
                        continue;
                    }
                    return Ok(Some(Piece { std: self.std, time, text, ends }));
                }
            }
        }
    }

    /// Takes bytes of a frame's header. False: it is not complete.
    fn read_header(&mut self, rest: &[u8], at: &mut usize) -> Result<bool, Bad> {
        if let Some(trouble) = self.trouble.take() {
            return Err(Bad::Engine(String::from_utf8_lossy(&trouble).trim().to_owned()));
        }
        let n = rest.len().min(8 - self.header_len);
        self.header[self.header_len..self.header_len + n].copy_from_slice(&rest[..n]);
        (self.header_len, *at) = (self.header_len + n, *at + n);
        if self.header_len < 8 {
            return Ok(false);
        }
        let [kind, 0, 0, 0, l1, l2, l3, l4] = self.header else { return Err(Bad::NoFrame) };
        (self.header_len, self.left) = (0, u32::from_be_bytes([l1, l2, l3, l4]) as usize);
        self.std = match kind {
            0 | 1 => Std::Out,
            2 => Std::Err,
            3 => {
                self.trouble = Some(Vec::new());
                Std::Err
            }
            _ => return Err(Bad::NoFrame),
        };
        if self.left > 0 {
            self.at = if kind == 3 { At::Text } else { At::Stamp };
            self.fresh = true;
        } else if kind == 3 {
            return Err(Bad::Engine("nothing more".into()));
        }
        Ok(true)
    }

    /// Takes bytes of a time and the blank behind it. `None`: it is not complete.
    fn read_stamp(&mut self, rest: &[u8], at: &mut usize) -> Option<()> {
        let framed = self.form == Form::Frames;
        if std::mem::take(&mut self.fresh) {
            self.stamp.clear();
        }
        let room = (STAMP_MAX - self.stamp.len()).min(if framed { self.left } else { usize::MAX });
        let seen = &rest[..rest.len().min(room)];
        // Nothing is a time that reaches behind its line.
        let end = memchr::memchr2(b' ', b'\n', seen);
        let n = end.map_or(seen.len(), |end| end + 1);
        self.stamp.extend_from_slice(&seen[..n]);
        (self.left, *at) = (self.left - if framed { n } else { 0 }, *at + n);
        let over = end.is_some() || self.stamp.len() >= STAMP_MAX || (framed && self.left == 0);
        if !over {
            return None;
        }
        self.time = self.stamp.strip_suffix(b" ").and_then(rfc3339);
        self.taken = 0;
        self.at = match self.time {
            Some(_) => At::Text,
            None => At::NoStamp,
        };
        if self.time.is_some() && framed && self.left == 0 {
            self.at = At::Header;
        }
        Some(())
    }

    /// Leaves the text that stands where a time should; whether its line ends with it.
    fn ends_unstamped(&mut self) -> bool {
        let ends = self.stamp.ends_with(b"\n");
        self.taken += self.stamp.len();
        self.at = match self.form {
            Form::Frames if self.left == 0 => At::Header,
            Form::Frames => At::Text,
            _ if ends => At::Stamp,
            _ => At::Text,
        };
        self.fresh = true;
        ends
    }

    /// The text of a frame: which, how many bytes are used, whether its line ends there.
    fn framed<'a>(&mut self, rest: &'a [u8]) -> Option<(&'a [u8], usize, bool)> {
        let seen = &rest[..rest.len().min(self.left)];
        if seen.is_empty() {
            return None;
        }
        let (text, used, ends) = match memchr(b'\n', seen) {
            Some(end) => (&seen[..end], end + 1, true),
            None => (seen, seen.len(), false),
        };
        self.left -= used;
        if self.left == 0 {
            self.at = At::Header;
        }
        if let Some(trouble) = &mut self.trouble {
            // What the engine says for itself is no line of the container's.
            let room = 512_usize.saturating_sub(trouble.len());
            trouble.extend_from_slice(&text[..text.len().min(room)]);
            return Some((&[], used, false));
        }
        Some((text, used, ends))
    }

    /// The text of a line on a terminal, likewise. A terminal ends lines with CR LF.
    fn raw<'a>(&mut self, rest: &'a [u8]) -> Option<(&'a [u8], usize, bool)> {
        let first = *rest.first()?;
        if std::mem::take(&mut self.cr) && first != b'\n' {
            return Some((b"\r", 0, false));
        }
        let room = CUT - self.taken % CUT;
        let seen = &rest[..rest.len().min(room)];
        let (text, used, ends) = match memchr(b'\n', seen) {
            Some(end) => (seen[..end].strip_suffix(b"\r").unwrap_or(&seen[..end]), end + 1, true),
            None => match seen {
                [text @ .., b'\r'] if seen.len() < room => {
                    self.cr = true;
                    (text, seen.len(), false)
                }
                _ => (seen, seen.len(), false),
            },
        };
        self.taken += used;
        if ends {
            (self.at, self.taken, self.fresh) = (At::Stamp, 0, true);
        } else if self.taken.is_multiple_of(CUT) && self.time.is_some() {
            self.at = At::Again(0);
        }
        Some((text, used, ends))
    }

    /// Looks whether the line's time stands here once more, `met` bytes of which did. False: it is not known yet. It ends
    /// in `At::Text` if it did, else in `At::Again` with the bytes met.
    fn read_again(&mut self, rest: &[u8], at: &mut usize, met: usize) -> bool {
        let wanted = &self.stamp[met..];
        let same = wanted.iter().zip(rest).take_while(|(a, b)| a == b).count();
        *at += same;
        let met = met + same;
        if met == self.stamp.len() {
            self.at = At::Text;
            return true;
        }
        self.at = At::Again(met);
        same < rest.len()
    }
}

// Shared with the fuzz target.
#[cfg(test)]
#[path = "../../../fuzz/src/oracle_frames.rs"]
pub(crate) mod oracle;

#[cfg(test)]
#[path = "frames/tests.rs"]
mod tests;
