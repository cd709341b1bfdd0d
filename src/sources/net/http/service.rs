//! What a source has to say about requests: which it takes, and how they are answered.

use crate::ack::Status;
use crate::http::{Head, Response};
use crate::labels::Stream;
use crate::sources::body::inflate::{Encoding, InflateError};
use crate::sources::body::{LabelText, Reader, Refusals, Why};
use std::sync::Arc;

/// A source's own part in requests, shared by its threads.
pub trait Service: Send + Sync {
    /// What to make of the body behind `head`. On the intake thread, so at once.
    ///
    /// Errors: the answer to a request that is not for this source: its path, method, or type.
    fn reading(&self, head: &Head) -> Result<Reading, Response>;

    /// The answer to a request whose body has come.
    fn answer(&self, outcome: &Outcome<'_>) -> Response;

    /// What makes streams of those that bodies name; one for each decode thread.
    fn streams(&self) -> Box<dyn Streams> {
        Box::new(NoStreams)
    }
}

/// What is to be made of a body.
pub struct Reading {
    /// How it is packed.
    pub encoding: Encoding,
    /// How to read it, once it can be seen; with the longest entry in bytes.
    pub reader: fn(&[u8], usize) -> Reader,
    /// Labels that the request's head gives its entries, beside those of the source; valid names, harmless values.
    pub labels: Vec<(Box<str>, Box<str>)>,
}

/// Makes streams of those that bodies name.
pub trait Streams: Send {
    /// The stream with these labels in a request whose entries would otherwise be of `request`.
    ///
    /// Errors: there cannot be such a stream; its entries are refused.
    fn stream(&mut self, request: &Arc<Stream>, labels: LabelText<'_>) -> Result<Arc<Stream>, Why>;
}

/// For bodies that name none.
pub struct NoStreams;

impl Streams for NoStreams {
    fn stream(&mut self, request: &Arc<Stream>, _: LabelText<'_>) -> Result<Arc<Stream>, Why> {
        Ok(Arc::clone(request))
    }
}

/// What became of a request whose body has come.
#[derive(Debug)]
pub enum Outcome<'a> {
    /// Its entries are where they were promised to be.
    Done {
        /// How many were taken; none if all were refused.
        entries: u64,
        /// What of it was not taken.
        refusals: &'a Refusals,
    },
    /// The body could not be inflated. Nothing of it was taken.
    Packed(&'a InflateError),
    /// Some of its entries were lost on the way, or dropped by a policy.
    Lost(Status),
    /// The time for an answer is over.
    Late {
        /// Whether entries of it were taken, which may still be delivered.
        begun: bool,
    },
}
