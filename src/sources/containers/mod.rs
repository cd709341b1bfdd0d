//! What the logs of containers have in common, whether an engine tells them or its files are read.
//!
//! An engine takes down what a container says in *messages*: a time, which of the two streams, and a line or a piece of
//! one. [`frames`] finds them in what an engine sends, [`docker_json`] and [`cri`] in a line of a log file; [`join`] puts
//! pieces together to lines and lines to events.
//! Not here: where the bytes come from (see `docker` and `file`).

pub mod cri;
pub mod docker_json;
pub mod frames;
pub mod join;

/// Which of a container's streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Std {
    /// Its standard output, and all of a terminal.
    #[default]
    Out = 0,
    /// Its standard error.
    Err = 1,
}

impl Std {
    /// Both.
    pub const ALL: [Std; 2] = [Std::Out, Std::Err];

    /// What its label says.
    pub fn name(self) -> &'static str {
        ["stdout", "stderr"][self as usize]
    }

    /// The stream of this name.
    pub fn of(name: &[u8]) -> Option<Std> {
        Self::ALL.into_iter().find(|std| std.name().as_bytes() == name)
    }
}

/// A piece of what a container said: at most one line, or a part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// Which stream it was said to.
    pub std: Std,
    /// When, in nanoseconds since 1970-01-01 UTC, if the engine says that in a form we know. Of a line the first piece's
    /// time counts.
    pub time: Option<i64>,
    /// The text, without the line's end.
    pub text: &'a [u8],
    /// Whether the line ends with it.
    pub ends: bool,
}
