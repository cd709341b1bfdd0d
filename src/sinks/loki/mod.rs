//! Batches pushed to Grafana Loki: a request per tenant, entries grouped by their labels, in order.
//!
//! What an answer means stands in `docs/sinks/loki.md`. Loki may take a push but for some entries; what it says of them
//! is read, and nothing it took is sent again.

mod answer;
pub mod config;
mod json;
mod labels;
mod line;
mod protobuf;
mod push;
mod refused;
mod streams;
#[cfg(test)]
mod tests;

pub use answer::{REFUSALS_MAX, Refusal, Which, refusals};
pub use line::{LineFormat, PAIRS_BYTES_MAX, PAIRS_MAX};
pub use push::Writer;

use super::client::{Answer, Client, Groups, Keys, Method, Settings, Span, Verdict, exchange, judge};
use super::{SendError, Sink};
use crate::batch::{Batch, Progress, Said};
use config::{Encoding, LokiSinkConfig};
use labels::{Key, Labelling};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::io;
use std::time::Instant;
use streams::{ByLabels, OVERFLOW_SECTION, Streams};
use ureq::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use ureq::http::{HeaderName, HeaderValue};

/// Where pushes go, below Loki's address.
const PATH: &str = "/loki/api/v1/push";
/// Names the tenant.
const TENANT: HeaderName = HeaderName::from_static("x-scope-orgid");

/// Pushes batches to one Loki.
pub struct LokiSink {
    name: String,
    config: LokiSinkConfig,
    client: Client,
    sorter: Sorter,
    /// What senders work with, while they do not.
    benches: Mutex<Vec<Bench>>,
}

/// What one sender works with.
struct Bench {
    tables: Tables,
    writer: Writer,
}

/// Says which entries go into which Loki stream of which tenant.
pub struct Sorter {
    labelling: Labelling,
    streams: Streams,
}

/// The tables of one who sorts.
#[derive(Default)]
pub struct Tables {
    groups: Groups,
    tenants: HashMap<Vec<u8>, u32>,
}

impl Sorter {
    /// A sorter for a sink with these keys. Errors: a pattern that cannot be read.
    pub fn new(config: &LokiSinkConfig) -> Result<Self, String> {
        let labelling = Labelling::new(config).map_err(|error| error.to_string())?;
        Ok(Sorter { labelling, streams: Streams::new(config.max_streams) })
    }

    /// Sorts `batch`, all of it.
    pub fn sort<'a>(&self, batch: &Batch, tables: &'a mut Tables, now: Instant) -> &'a Groups {
        let Tables { groups, tenants } = tables;
        groups.sort(batch, &mut self.keys(tenants, now), &mut Progress::default());
        groups
    }

    fn keys<'a>(&'a self, tenants: &'a mut HashMap<Vec<u8>, u32>, now: Instant) -> impl Keys + 'a {
        ByLabels::new(&self.labelling, &self.streams, tenants, now)
    }
}

impl LokiSink {
    /// The sink called `name`, which has not connected yet, for `senders` at once.
    ///
    /// Errors: a certificate, key or pattern that cannot be used; says which.
    pub fn new(name: &str, config: LokiSinkConfig, senders: usize) -> Result<Self, String> {
        let (url, connect) = (config.url.with_path(PATH), config.connect());
        let settings = Settings { url: &url, method: Method::POST, connect, connections: senders };
        let client = Client::new(settings)?;
        let sorter = Sorter::new(&config)?;
        Ok(LokiSink { name: name.into(), config, client, sorter, benches: Mutex::default() })
    }

    fn bench(&self) -> io::Result<Bench> {
        let spare = self.benches.lock().pop();
        match spare {
            Some(bench) => Ok(bench),
            None => Ok(Bench { tables: Tables::default(), writer: Writer::new(&self.config)? }),
        }
    }

    fn request(&self, batch: &Batch, groups: &Groups, spans: &[Span], writer: &mut Writer) -> Verdict {
        let (body, sent) = match writer.write(batch, groups, spans) {
            Ok(written) => written,
            Err(error) => return Verdict::unanswered(format!("cannot pack the body: {error}")),
        };
        let mut headers = match self.config.encoding {
            Encoding::Protobuf => vec![(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"))],
            Encoding::Json => vec![
                (CONTENT_TYPE, HeaderValue::from_static("application/json")),
                (CONTENT_ENCODING, HeaderValue::from_static("gzip")),
            ],
        };
        let tenant = spans.first().map_or(&b""[..], |span| Key::read(groups.key(span.group)).tenant);
        // Checked when the key was made.
        if let Ok(tenant) = HeaderValue::from_bytes(tenant)
            && !tenant.is_empty()
        {
            headers.push((TENANT, tenant));
        }
        let verdict = match self.client.send(&headers, body) {
            Ok(answer) => verdict(&answer, sent, batch, groups, spans),
            Err(why) => Verdict::unanswered(why),
        };
        if matches!(verdict, Verdict::Taken | Verdict::TakenBut(_)) {
            self.report(batch, spans, writer);
        }
        verdict
    }

    /// Says what entries that were taken had to lose.
    fn report(&self, batch: &Batch, spans: &[Span], writer: &Writer) {
        let name = &self.name;
        let spans = spans.iter().filter(|span| span.place.section == OVERFLOW_SECTION);
        let overflowed: usize = spans.map(|span| span.entries.len()).sum();
        if overflowed > 0 {
            batch.count_overflowed(overflowed);
            let max = self.config.max_streams;
            tracing::warn!(
                "sink {name}: {overflowed} entries of label sets beyond `max_streams`, {max}, went to the stream \
                 __overflow__ with their labels in structured metadata"
            );
        }
        let left_out = writer.left_out();
        if left_out > 0 {
            tracing::warn!(
                "sink {name}: {left_out} fields left out of structured metadata: Loki takes {PAIRS_MAX} and \
                 {PAIRS_BYTES_MAX} bytes of them per entry"
            );
        }
    }
}

impl Sink for LokiSink {
    fn kind(&self) -> &'static str {
        "loki"
    }

    fn send(&self, batch: &Batch) -> Result<(), SendError> {
        let mut bench = self.bench()?;
        let Bench { tables: Tables { groups, tenants }, writer } = &mut bench;
        let mut keys = self.sorter.keys(tenants, Instant::now());
        let result =
            exchange(batch, groups, &mut keys, |groups, spans| self.request(batch, groups, spans, writer));
        drop(keys);
        writer.shrink();
        self.benches.lock().push(bench);
        result
    }
}

fn verdict(answer: &Answer, sent: &[u8], batch: &Batch, groups: &Groups, spans: &[Span]) -> Verdict {
    if answer.status != 400 {
        return judge(answer, sent);
    }
    let text = String::from_utf8_lossy(&answer.body);
    if text.contains("structured metadata, but this feature is disallowed") {
        let why = "Loki is told not to take structured metadata (`allow_structured_metadata`)";
        return Verdict::Denied(Said::with_status(why, answer.status));
    }
    match refusals(&text) {
        refusals if refusals.is_empty() => judge(answer, sent),
        refusals => Verdict::TakenBut(refused::entries(&refusals, batch, groups, spans)),
    }
}
