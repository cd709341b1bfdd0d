//! HTTP/1.1 as a server speaks it (RFC 9110, RFC 9112), without sockets and without a clock; and of a client's side what
//! reads a long answer piece by piece ([`answer`]).
//!
//! [`head`] reads a request's head, [`reader`] finds where bodies begin and end, [`response`] writes answers, and
//! [`connection`] is the machine that keeps them in order on one connection: fed bytes, it yields requests and pieces of
//! bodies; given answers, it yields bytes. [`patience`] says how long each state of it may last.
//!
//! Whatever two readers could understand differently is refused, and the connection closed: that is how requests are
//! smuggled past one of them.
//! Not here: what requests mean, who may make them, and compressed bodies.

pub mod answer;
pub mod connection;
pub mod head;
pub mod patience;
pub mod reader;
pub mod response;
pub mod status;

pub use connection::{Connection, Event};
pub use head::{Framing, Head, Method};
pub use patience::{Overdue, Patience};
pub use response::Response;
pub use status::Status;

/// Why a request cannot be taken, and what is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The kind of fault.
    pub status: Status,
    /// What is wrong and what would be right, in a sentence without its final newline.
    pub why: &'static str,
}

impl Refusal {
    const fn bad(why: &'static str) -> Self {
        Refusal { status: Status::BAD_REQUEST, why }
    }
}
