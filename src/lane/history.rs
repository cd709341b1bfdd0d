//! What the last requests to a sink came to: a bounded ring, for people who want to see what flow control sees.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How many requests are remembered.
pub const HISTORY_MAX: usize = 32;

/// What one request came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// All of it was taken.
    Took,
    /// It was taken but for some entries, which were refused.
    Partly,
    /// The destination could not be reached, did not answer in time, or has too much to do.
    Unwell,
    /// The destination could not work on it.
    Failed,
    /// We are not let in.
    Denied,
    /// All of it was refused.
    Refused,
    /// The sink's own code panicked.
    Panicked,
}

impl Came {
    /// Its word in `/stats`.
    pub fn name(self) -> &'static str {
        match self {
            Came::Took => "took",
            Came::Partly => "partly",
            Came::Unwell => "unwell",
            Came::Failed => "failed",
            Came::Denied => "denied",
            Came::Refused => "refused",
            Came::Panicked => "panicked",
        }
    }
}

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// When it ended.
    pub at: Instant,
    /// Entries it carried.
    pub entries: usize,
    /// How long it took.
    pub latency: Duration,
    /// What it came to.
    pub came: Came,
}

/// The last [`HISTORY_MAX`] requests.
#[derive(Clone, Debug, Default)]
pub struct History(VecDeque<Request>);

impl History {
    /// Remembers one more; the oldest goes when there are too many.
    pub fn push(&mut self, request: Request) {
        if self.0.len() == HISTORY_MAX {
            self.0.pop_front();
        }
        self.0.push_back(request);
    }

    /// All of them, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Request> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_requests_are_remembered_and_no_more() {
        let (mut history, at) = (History::default(), Instant::now());
        for entries in 0..100 {
            history.push(Request { at, entries, latency: Duration::from_millis(1), came: Came::Took });
        }
        let sizes: Vec<usize> = history.iter().map(|request| request.entries).collect();
        assert_eq!(sizes, (100 - HISTORY_MAX..100).collect::<Vec<_>>());
    }
}
