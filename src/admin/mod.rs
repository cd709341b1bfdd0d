//! Looking in: `/metrics`, `/stats`, `/health`, `/ready`.
//!
//! Everything shown comes from one [`Snapshot`], taken by whoever has the numbers ([`Inside`]). The rest of this folder
//! only reads: [`health`] judges a snapshot, [`exposition`] writes it for Prometheus, [`server`] answers requests.
//!
//! What changes something is done by the engine itself ([`Inside::post`]), for who shows the token ([`pages`]).

pub mod connection;
pub mod custom;
pub mod exposition;
pub mod health;
pub mod history;
mod letters;
pub mod ordered;
pub mod pages;
pub mod process;
pub mod pulse;
pub mod rows;
pub mod server;
pub mod snapshot;
pub mod tap;
pub mod threads;
pub mod workers;

pub use health::{Health, Status};
pub use pulse::Pulse;
pub use server::{AdminServer, CONNECTIONS_MAX};
pub use snapshot::Snapshot;
pub use threads::ThreadLook;

use crate::delivery::dlq::numbers::LettersStats;
use crate::http::Response;
use crate::metrics::Telemetry;
use crate::tap::{Seen, Wish};

/// What can be looked into: the engine.
pub trait Inside: Send + Sync {
    /// All numbers now.
    fn snapshot(&self) -> Snapshot;

    /// How everything is, and why.
    fn health(&self) -> Health {
        Health::of(&self.snapshot())
    }

    /// Whether entries are taken in.
    ///
    /// Errors: why not, in words.
    fn ready(&self) -> Result<(), String>;

    /// What a tap has seen since it was last asked; the first time it is opened.
    ///
    /// Errors: there is no such point, or there are too many taps, in words.
    fn tap(&self, wish: Wish) -> Result<Seen, String>;

    /// Every thread and what it does; its share of CPU is that since this was last asked.
    fn threads(&self) -> Vec<ThreadLook> {
        Vec::new()
    }

    /// The dead letters' numbers; `None` if there are none to be.
    fn letters(&self) -> Option<LettersStats> {
        self.snapshot().dlq
    }

    /// Does what was posted to `path`; `None` if there is nothing to be done under it. Only called for who may.
    fn post(&self, _path: &str, _body: &[u8]) -> Option<Response> {
        None
    }

    /// Where durations are recorded.
    fn telemetry(&self) -> &Telemetry;
}
