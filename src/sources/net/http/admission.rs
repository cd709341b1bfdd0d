//! What is decided at a request's head: who asks, for what, and whether there is room for it.

use super::service::{Reading, Service};
use crate::auth::Auth;
use crate::http::{Head, Refusal, Response, Status};
use crate::labels::Labels;
use crate::sources::inlet::{Assigned, Gate, Strategy};
use crate::sources::rate::Limits;
use crate::units::format_size;
use std::sync::Arc;
use std::time::Instant;

/// After how many seconds to try again when there was no room.
pub const RETRY_AFTER: &str = "1";
/// ... and when this process is ending: as long as another takes to be there.
pub const RETRY_AFTER_END: &str = "5";

/// Why there is no room for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pressure {
    /// This process is ending.
    Ending,
    /// A sink has fallen behind and is full, or the queue to the workers is.
    Behind,
    /// Too many requests are under way.
    Requests,
    /// Their bodies have too much of the memory.
    Memory,
    /// More came lately than a rate limit allows; there is room again after so many seconds.
    Rate(u64),
}

impl Pressure {
    /// The answer to a request that comes now.
    pub fn response(self) -> Response {
        let (why, after) = match self {
            Pressure::Ending => ("ringmain is ending and takes in no more\n", RETRY_AFTER_END),
            Pressure::Behind => ("no room now: what came before is still being delivered\n", RETRY_AFTER),
            Pressure::Requests => ("no room now: too many requests are under way\n", RETRY_AFTER),
            Pressure::Memory => ("no room now: too many bytes of bodies are under way\n", RETRY_AFTER),
            Pressure::Rate(seconds) => {
                let says = "too fast: more entries came lately than the rate limit allows\n";
                return Response::text(Status::TOO_MANY_REQUESTS, says)
                    .with("Retry-After", seconds.to_string());
            }
        };
        Response::text(Status::UNAVAILABLE, why).with("Retry-After", after)
    }
}

/// The way on from a source, as far as it can be seen from outside.
pub struct Way {
    /// The gate its lanes close.
    pub gate: Arc<Gate>,
    /// Which hallway its blocks go through.
    pub assigned: Arc<Assigned>,
    /// What the source does when it cannot go on.
    pub strategy: Strategy,
    /// How fast its entries may come.
    pub limits: Limits,
}

impl Way {
    /// Whether what comes now can go on, or is to be dropped by a policy, but need not wait.
    pub fn is_open(&self) -> bool {
        !self.strategy.waits() || (self.gate.is_open() && !self.assigned.hallway().credits.congested())
    }
}

impl Way {
    /// After how many seconds entries with these labels may come again; nothing if now.
    pub fn wait_for_rate(&self, labels: &Labels, now: Instant) -> Option<u64> {
        let at = self.limits.wait(Some(labels), now)?;
        Some(at.saturating_duration_since(now).as_secs_f64().ceil().max(1.0) as u64)
    }
}

/// Judges a head: what to make of its body, or the answer that refuses it.
pub fn judge(
    head: &Head,
    auth: Option<&Auth>,
    service: &dyn Service,
    pressure: impl FnOnce(&Reading) -> Option<Pressure>,
) -> Result<Reading, Response> {
    if let Some(auth) = auth
        && !auth.admits(head.field("authorization"))
    {
        let says = "credentials are wanted, in the header `Authorization`\n";
        return Err(Response::text(Status::UNAUTHORIZED, says).with("WWW-Authenticate", auth.challenge()));
    }
    let reading = service.reading(head)?;
    match pressure(&reading) {
        Some(pressure) => Err(pressure.response()),
        None => Ok(reading),
    }
}

/// The answer to what is no request.
pub fn refused(refusal: &Refusal, body_max: usize) -> Response {
    let limit = match refusal.status {
        Status::CONTENT_TOO_LARGE => format!(": at most {} as sent", format_size(body_max as u64)),
        _ => String::new(),
    };
    Response::text(refusal.status, format!("{}{limit}\n", refusal.why))
}
