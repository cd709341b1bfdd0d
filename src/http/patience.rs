//! How long each state of a connection may last.

use std::time::Duration;

/// The times of a server. None of them begins anew with each byte, or a byte now and then would hold a place for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// From the first byte of a head, or from the connection's begin, to the head's last.
    pub head: Duration,
    /// Bytes per second that a body must come with, on average, after [`Patience::body_grace`].
    pub body_rate: u64,
    /// How long a body may take before its rate is looked at.
    pub body_grace: Duration,
    /// Between the end of an answer and the next request.
    pub idle: Duration,
    /// For the client to take an answer.
    pub answer: Duration,
    /// How long we listen to what a client still sends after our last answer, so that it can read that answer: closing
    /// with unread bytes resets the connection.
    pub last: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Patience {
            head: Duration::from_secs(10),
            body_rate: 1 << 10,
            body_grace: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            answer: Duration::from_secs(10),
            last: Duration::from_secs(1),
        }
    }
}

impl Patience {
    /// How long a body of which `came` bytes have come may have taken.
    pub(super) fn body(&self, came: u64) -> Duration {
        let paid = Duration::from_secs_f64(came as f64 / self.body_rate.max(1) as f64);
        self.body_grace.saturating_add(paid)
    }
}

/// Whose time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overdue {
    /// No request came: there is nobody to answer.
    Idle,
    /// A head did not arrive: to be answered with 408.
    Head,
    /// A body comes too slowly: to be answered with 408.
    Body,
    /// The client does not take its answers.
    Answer,
    /// Everything is said, and the client does not close.
    Last,
}
