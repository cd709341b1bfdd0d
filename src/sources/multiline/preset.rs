//! Stack traces of Java, Python and Go, by small machines instead of expressions.
//!
//! Common to all: a line that begins with a blank or a tab belongs to the event before it. What begins at the margin
//! is told apart by its first bytes and by what came before it. A trace whose first line stands at the margin belongs to
//! the line before it if that looks like the head of a log entry (it begins with a date, a bracket or a level):
//! loggers write the message, then the trace. After any other line it begins an event of its own.

use memchr::memmem;

/// Whose stack traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// Java and what else runs on its machine: `at` lines, `Caused by:`, `Suppressed:`, `... 12 more`.
    Java,
    /// Tracebacks, chained ones and groups too.
    Python,
    /// Panics and fatal errors with their goroutines.
    Go,
}

/// What the last line of the open event was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Any line.
    #[default]
    Plain,
    /// One that looks like the head of a log entry.
    Head,
    /// One that begins with the name of a month: `java.util.logging` puts the level and the message on the next line.
    Dated,
    /// Within a trace.
    Trace,
    /// Python: the exception that ends a trace.
    Raised,
    /// Python: the blank line behind it. Go: a blank line within a dump.
    Gap,
    /// Python: the sentence between chained tracebacks.
    Between,
    /// Python: the blank line behind that.
    Resumes,
    /// Go: `runtime: `, the runtime's word on the fatal error that follows.
    Warned,
    /// Go: `panic:` and what else begins a dump.
    Panic,
}

impl Preset {
    /// The state after `line`, which opens an event.
    #[inline]
    pub fn open(self, line: &[u8]) -> State {
        match self {
            Preset::Java if is_throwable(line) || line.starts_with(UNCAUGHT) => State::Trace,
            Preset::Python if line.starts_with(TRACEBACK) => State::Trace,
            Preset::Python if announces_traceback(line) => State::Head,
            Preset::Go if line.starts_with(RUNTIME) => State::Warned,
            Preset::Go if begins_dump(line) => State::Panic,
            Preset::Go if is_goroutine(line) => State::Trace,
            _ => head(line),
        }
    }

    /// The state after `line` if it belongs to the event whose last line left `state`.
    #[inline]
    pub fn go_on(self, state: State, line: &[u8]) -> Option<State> {
        match line.first() {
            Some(b' ' | b'\t') => Some(match self {
                Preset::Java if line.trim_ascii_start().starts_with(b"at ") => State::Trace,
                Preset::Java => state,
                // `  + Exception Group Traceback` opens one, and in the others every line is blank at the margin.
                Preset::Python if state == State::Between || state == State::Resumes => State::Trace,
                Preset::Python | Preset::Go => state,
            }),
            first => match self {
                Preset::Java => java(state, first, line),
                Preset::Python => python(state, first, line),
                Preset::Go => go(state, first, line),
            },
        }
    }
}

// --- Java

/// What the machine itself writes before the trace: it never belongs to a line of a logger.
const UNCAUGHT: &[u8] = b"Exception in thread \"";

#[inline]
fn java(state: State, first: Option<&u8>, line: &[u8]) -> Option<State> {
    let Some(first) = first else {
        // `java.util.logging` writes a blank line behind a trace.
        return (state == State::Trace).then_some(State::Plain);
    };
    let belongs = match first {
        b'C' => line.starts_with(b"Caused by: "),
        b'S' => line.starts_with(b"Suppressed: "),
        b'W' => line.starts_with(b"Wrapped by: "),
        b'.' => line.starts_with(b"... "),
        _ => false,
    };
    if belongs || matches!(state, State::Head | State::Dated) && is_throwable(line) {
        return Some(State::Trace);
    }
    (state == State::Dated && is_level(line)).then_some(State::Head)
}

/// Whether the line begins as the second one of `java.util.logging.SimpleFormatter` does: `SEVERE: `.
fn is_level(line: &[u8]) -> bool {
    const LEVELS: [&[u8]; 7] = [b"SEVERE", b"WARNING", b"INFO", b"CONFIG", b"FINE", b"FINER", b"FINEST"];
    let len = line.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
    line[len..].starts_with(b": ") && LEVELS.contains(&&line[..len])
}

/// Whether the line is what `Throwable.toString` gives: a class in a package that is called like an exception, then nothing or `: ` and a message.
fn is_throwable(line: &[u8]) -> bool {
    const THROWN: [&[u8]; 4] = [b"Exception", b"Error", b"Throwable", b"Failure"];
    if !line.first().is_some_and(|first| first.is_ascii_alphabetic() || *first >= 0x80) {
        return false;
    }
    let is_part =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'$') || *byte >= 0x80;
    let (name, rest) = line.split_at(line.iter().take_while(|byte| is_part(byte)).count());
    let Some(package) = memchr::memrchr(b'.', name) else { return false };
    let class = &name[package..];
    (rest.is_empty() || rest.starts_with(b": "))
        && THROWN.iter().any(|part| memmem::find(class, part).is_some())
}

// --- Python

const TRACEBACK: &[u8] = b"Traceback (most recent call last):";

#[inline]
fn python(state: State, first: Option<&u8>, line: &[u8]) -> Option<State> {
    match (state, first) {
        (State::Head | State::Dated | State::Resumes, Some(b'T')) if line.starts_with(TRACEBACK) => {
            Some(State::Trace)
        }
        (State::Head, Some(_)) if is_of_asyncio(line) => Some(State::Head),
        (State::Trace, Some(_)) if is_raised(line) => Some(State::Raised),
        (State::Raised, None) => Some(State::Gap),
        (State::Gap, Some(b'D')) if line.starts_with(b"During handling of the above exception") => {
            Some(State::Between)
        }
        (State::Gap, Some(b'T')) if line.starts_with(b"The above exception was the direct cause") => {
            Some(State::Between)
        }
        (State::Between, None) => Some(State::Resumes),
        _ => None,
    }
}

/// Whether the line is what the interpreter itself writes before a traceback: of a thread, or of what nobody could catch.
fn announces_traceback(line: &[u8]) -> bool {
    line.starts_with(b"Exception in thread ") || line.starts_with(b"Exception ignored in")
}

/// Whether the line is one that `asyncio` puts between its message and the traceback: `handle: <Handle read(0)>`.
fn is_of_asyncio(line: &[u8]) -> bool {
    const NAMES: [&[u8]; 5] = [b"future", b"handle", b"protocol", b"task", b"transport"];
    let name = line.iter().take_while(|byte| byte.is_ascii_lowercase()).count();
    line[name..].starts_with(b": <") && NAMES.contains(&&line[..name])
}

/// Whether the line is what ends a traceback: the name of an exception, then nothing or a `:` and its message.
fn is_raised(line: &[u8]) -> bool {
    let is_part = |byte: &u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'<' | b'>') || *byte >= 0x80
    };
    let name = line.iter().take_while(|byte| is_part(byte)).count();
    name > 0 && !line[0].is_ascii_digit() && line.get(name).is_none_or(|behind| *behind == b':')
}

// --- Go

/// What the runtime says before some fatal errors: `runtime: goroutine stack exceeds 1000000000-byte limit`.
const RUNTIME: &[u8] = b"runtime: ";

fn begins_dump(line: &[u8]) -> bool {
    let begins = [&b"panic: "[..], b"fatal error: ", b"SIGQUIT: ", b"SIGABRT: ", b"SIGSEGV: ", b"SIGBUS: "];
    begins.iter().any(|begin| line.starts_with(begin))
}

fn is_goroutine(line: &[u8]) -> bool {
    let numbered = line.strip_prefix(b"goroutine ").and_then(|rest| rest.first());
    numbered.is_some_and(u8::is_ascii_digit) && line.ends_with(b"]:") || line == b"runtime stack:"
}

#[inline]
fn go(state: State, first: Option<&u8>, line: &[u8]) -> Option<State> {
    match (state, first) {
        (State::Warned, Some(b'r')) if line.starts_with(RUNTIME) => Some(State::Warned),
        (State::Warned, Some(b'f')) if begins_dump(line) => Some(State::Panic),
        (State::Panic | State::Trace | State::Gap, None) => Some(State::Gap),
        (State::Panic, Some(b'[')) if line.starts_with(b"[signal ") => Some(State::Panic),
        (State::Panic, Some(b'P')) if line.starts_with(b"PC=") => Some(State::Panic),
        (State::Head | State::Dated | State::Panic | State::Trace | State::Gap, Some(b'g' | b'r'))
            if is_goroutine(line) =>
        {
            Some(State::Trace)
        }
        (State::Trace, Some(_)) if is_frame(line) => Some(State::Trace),
        (State::Trace | State::Gap, Some(_)) if is_register(line) => Some(State::Trace),
        _ => None,
    }
}

/// Whether the line is a call in a goroutine's stack: `main.(*Server).run(0xc000010000, {0x1, 0x2})`, `panic(...)`,
/// `created by main.main in goroutine 1`, `...additional frames elided...`.
fn is_frame(line: &[u8]) -> bool {
    if line.starts_with(b"created by ") || line.starts_with(b"...") {
        return true;
    }
    let Some(open) = memchr::memchr(b'(', line) else { return false };
    let name = &line[..open];
    let qualified = name == b"panic" || name.contains(&b'.');
    line.ends_with(b")") && qualified && !name.iter().any(u8::is_ascii_whitespace)
}

/// Whether the line is a register of a fatal signal: `rip    0x46d4a1`.
fn is_register(line: &[u8]) -> bool {
    let name = line.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
    let rest = line[name..].trim_ascii_start();
    (2..=6).contains(&name) && rest.len() < line.len() - name && rest.starts_with(b"0x")
}

// --- common

/// Whether the line looks like the head of a log entry: a date or time, something in brackets, a level.
#[inline]
fn head(line: &[u8]) -> State {
    const LEVELS: [&[u8]; 12] = [
        b"TRACE",
        b"DEBUG",
        b"INFO",
        b"WARN",
        b"WARNING",
        b"ERROR",
        b"SEVERE",
        b"FATAL",
        b"CRITICAL",
        b"NOTICE",
        b"FINE",
        b"EXCEPTION",
    ];
    const MONTHS: &[u8] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
    match line {
        [b'0'..=b'9' | b'[' | b'<' | b'{', ..] => State::Head,
        // glog and klog: `E1123 10:00:00.000000`.
        [b'D' | b'I' | b'W' | b'E' | b'F' | b'C', b'0'..=b'9', ..] => State::Head,
        [b'A'..=b'Z', ..] => {
            let word = &line[..line.iter().take_while(|byte| byte.is_ascii_alphabetic()).count()];
            match word.len() {
                3 if MONTHS.chunks_exact(3).any(|month| month == word) => State::Dated,
                4.. if LEVELS.contains(&word) => State::Head,
                _ => State::Plain,
            }
        }
        _ => State::Plain,
    }
}
