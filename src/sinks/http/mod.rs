//! Batches sent to an HTTP endpoint: a request each, or one for every set of headers its entries make.
//!
//! What an answer means stands in `docs/sinks/http.md`. A batch whose requests were taken in part goes on with the rest.

mod body;
pub mod config;
mod headers;
#[cfg(test)]
mod tests;

pub use body::BodyFormat;

use super::client::{self, Client, Groups, Packer, Settings, Span, Verdict, exchange, judge};
use super::format::Encoder;
use super::{SendError, Sink};
use crate::batch::Batch;
use config::{HttpSinkConfig, Method};
use headers::{ByHeaders, Headers};
use parking_lot::Mutex;
use ureq::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use ureq::http::{HeaderName, HeaderValue};

/// Most bytes a buffer keeps from one batch to the next.
const BUFFER_MAX: usize = 8 << 20;

/// Sends batches to one URL.
pub struct HttpSink {
    config: HttpSinkConfig,
    client: Client,
    headers: Headers,
    /// What senders work with, while they do not.
    benches: Mutex<Vec<Bench>>,
}

/// What one sender works with.
struct Bench {
    groups: Groups,
    encoder: Encoder,
    packer: Packer,
    body: Vec<u8>,
    packed: Vec<u8>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl HttpSink {
    /// A sink that has not connected yet, for `senders` at once.
    ///
    /// Errors: a certificate, key or header that cannot be used; says which.
    pub fn new(config: HttpSinkConfig, senders: usize) -> Result<Self, String> {
        let method = match config.method {
            Method::Post => client::Method::POST,
            Method::Put => client::Method::PUT,
        };
        let settings = Settings { url: &config.url, method, connect: config.connect(), connections: senders };
        let client = Client::new(settings)?;
        let pairs = config.headers.0.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let headers = Headers::new(pairs).map_err(|error| format!("headers: {error}"))?;
        let sink = HttpSink { config, client, headers, benches: Mutex::default() };
        // The first fails here rather than with the first batch.
        let bench = sink.bench()?;
        sink.benches.lock().push(bench);
        Ok(sink)
    }

    fn bench(&self) -> Result<Bench, String> {
        let packer = Packer::new(self.config.compression, self.config.compression_level)
            .map_err(|error| format!("compression: {error}"))?;
        let encoder = self.config.body.encoder();
        let (body, packed, headers) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Bench { groups: Groups::default(), encoder, packer, body, packed, headers })
    }

    fn request(&self, batch: &Batch, groups: &Groups, spans: &[Span], work: &mut Work) -> Verdict {
        let Work { encoder, packer, body, packed, headers } = work;
        body.clear();
        self.config.body.write(batch, spans, encoder, body);
        headers.clear();
        let key = spans.first().map_or(&b""[..], |span| groups.key(span.group));
        self.headers.put(key, headers);
        if !self.headers.has(&CONTENT_TYPE) {
            headers.push((CONTENT_TYPE, HeaderValue::from_static(self.config.body.content_type())));
        }
        if let Some(encoding) = self.config.compression.encoding() {
            headers.push((CONTENT_ENCODING, HeaderValue::from_static(encoding)));
        }
        let packed = match packer.pack(body, packed) {
            Ok(packed) => packed,
            Err(error) => return Verdict::unanswered(format!("cannot pack the body: {error}")),
        };
        match self.client.send(headers, packed) {
            Ok(answer) => judge(&answer, body),
            Err(why) => Verdict::unanswered(why),
        }
    }
}

/// A bench without its groups, which are read meanwhile.
struct Work<'a> {
    encoder: &'a mut Encoder,
    packer: &'a mut Packer,
    body: &'a mut Vec<u8>,
    packed: &'a mut Vec<u8>,
    headers: &'a mut Vec<(HeaderName, HeaderValue)>,
}

impl Sink for HttpSink {
    fn kind(&self) -> &'static str {
        "http"
    }

    fn send(&self, batch: &Batch) -> Result<(), SendError> {
        let spare = self.benches.lock().pop();
        let mut bench = match spare {
            Some(bench) => bench,
            None => self.bench().map_err(|why| SendError::Retry { why, after: None })?,
        };
        let Bench { groups, encoder, packer, body, packed, headers } = &mut bench;
        let mut work = Work { encoder, packer, body, packed, headers };
        let result = exchange(batch, groups, &mut ByHeaders(&self.headers), |groups, spans| {
            self.request(batch, groups, spans, &mut work)
        });
        for buffer in [&mut bench.body, &mut bench.packed] {
            buffer.clear();
            buffer.shrink_to(BUFFER_MAX);
        }
        self.benches.lock().push(bench);
        result
    }
}
