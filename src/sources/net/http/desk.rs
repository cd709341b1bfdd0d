//! What all clients of a source share: its settings, its memory, its way on, and how much may be done in a turn.

use super::admission::{Pressure, Way, judge};
use super::decode::Inbox;
use super::memory::BodyMemory;
use super::service::Reading;
use super::terms::Terms;
use super::{HttpSettings, Job, REQUESTS_MAX};
use crate::http::{Head, Response};
use crate::labels::{Labels, Stream};
use crate::ledger::{Named, SourceLedger};
use std::sync::Arc;
use std::time::Instant;

/// Most bytes read in a turn.
const TURN_BYTES: usize = 256 << 10;
/// Most reads in a turn.
const TURN_READS: usize = 128;
/// As how many reads one flight of a TLS handshake counts: it costs about a hundred times a read.
const FLIGHT_READS: usize = 32;

/// Where clients bring their requests.
pub struct Desk {
    pub terms: Arc<Terms>,
    pub way: Way,
    pub ledger: Named<SourceLedger>,
    pub memory: BodyMemory,
    /// Memory was left: clients that wait for some should try again.
    pub memory_freed: bool,
    /// Requests that are being received, or wait for their answer.
    pub requests: usize,
    /// The ways to the decode threads; none once nothing more is to come.
    pub inboxes: Vec<Inbox>,
    /// No further request is taken.
    pub ending: bool,
    bytes_left: usize,
    reads_left: usize,
}

impl Desk {
    pub fn new(
        terms: Arc<Terms>,
        way: Way,
        ledger: Named<SourceLedger>,
        memory: BodyMemory,
        inboxes: Vec<Inbox>,
    ) -> Self {
        Desk {
            terms,
            way,
            ledger,
            memory,
            memory_freed: false,
            requests: 0,
            inboxes,
            ending: false,
            bytes_left: 0,
            reads_left: 0,
        }
    }

    /// What comes from now on comes under `terms`.
    pub fn change(&mut self, terms: Terms) {
        self.memory.set_limits(terms.settings.body_memory, terms.settings.limits.wire);
        self.way.strategy = terms.strategy;
        self.terms = Arc::new(terms);
    }

    // --- how much to do

    /// A turn begins.
    pub fn begin_turn(&mut self) {
        (self.bytes_left, self.reads_left) = (TURN_BYTES, TURN_READS);
    }

    /// Whether the turn has done enough.
    pub fn is_spent(&self) -> bool {
        self.bytes_left == 0 || self.reads_left == 0
    }

    /// One read was done, and part of a handshake perhaps.
    pub fn spend(&mut self, bytes: usize, flights: u32) {
        self.bytes_left = self.bytes_left.saturating_sub(bytes);
        self.reads_left = self.reads_left.saturating_sub(1 + flights as usize * FLIGHT_READS);
    }

    // --- requests

    /// What to make of a request, or the answer that refuses it.
    pub fn judge(&self, head: &Head) -> Result<Reading, Response> {
        judge(head, self.terms.settings.auth.as_ref(), &*self.terms.service, |reading| self.pressure(reading))
    }

    fn pressure(&self, reading: &Reading) -> Option<Pressure> {
        if self.ending {
            Some(Pressure::Ending)
        } else if self.requests >= REQUESTS_MAX {
            Some(Pressure::Requests)
        } else if !self.memory.is_open() {
            Some(Pressure::Memory)
        } else if !self.way.is_open() {
            Some(Pressure::Behind)
        } else if self.way.limits.is_on() {
            let labels = self.labels(&reading.labels);
            self.way.wait_for_rate(&labels, Instant::now()).map(Pressure::Rate)
        } else {
            None
        }
    }

    /// Gives a request to the decode thread of its connection.
    ///
    /// Errors: the answer, if there is no such thread any more.
    pub fn hand_over(&mut self, job: Job) -> Result<(), Response> {
        let count = self.inboxes.len().max(1) as u64;
        let inbox = self.inboxes.get((job.who.client % count) as usize);
        let sent = inbox.is_some_and(|inbox| {
            let sent = inbox.jobs.try_send(job).is_ok();
            inbox.waker.wake();
            sent
        });
        if sent { Ok(()) } else { Err(Pressure::Ending.response()) }
    }

    /// Counts an answer.
    pub fn count(&self, response: &Response) {
        self.ledger.row.http.answered.add(response.status);
    }

    /// A stream called `origin`, with labels beside those of the source.
    pub fn stream(&self, origin: String, labels: &[(Box<str>, Box<str>)]) -> Arc<Stream> {
        let HttpSettings { source, kind, .. } = &self.terms.settings;
        Arc::new(Stream::new(*source, Arc::clone(&self.ledger.name), kind, origin, self.labels(labels)))
    }

    /// The labels of the source with others beside them.
    fn labels(&self, labels: &[(Box<str>, Box<str>)]) -> Labels {
        let own = &self.terms.settings.labels;
        match labels {
            [] => own.clone(),
            // What the config says wins over what a client says.
            more => Labels::new(more.iter().map(|(name, value)| (&**name, &**value)).chain(own.iter())),
        }
    }
}
