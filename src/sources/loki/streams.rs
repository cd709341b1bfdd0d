//! The streams of Loki's label sets: each is made when its labels are first seen, and found again by how they are written.

use crate::labels::{LABELS_MAX, Labels, Stream};
use crate::sources::body::{LabelText, Why};
use crate::sources::net::http::Streams;
use std::collections::HashMap;
use std::sync::Arc;

/// Most label sets one thread remembers; when one more comes, it begins anew.
pub const KNOWN_MAX: usize = 4096;
/// Most bytes of what is remembered, likewise.
pub const KNOWN_BYTES_MAX: usize = 8 << 20;
/// Most bytes of names and values of one set.
pub const LABELS_BYTES_MAX: usize = 32 << 10;
/// Most bytes of an origin; a longer one ends in a checksum of all of it.
const ORIGIN_MAX: usize = 256;

/// The streams one thread has seen.
pub struct LokiStreams {
    tenant_label: Option<Box<str>>,
    known: HashMap<Box<[u8]>, Arc<Stream>>,
    known_bytes: usize,
    key: Vec<u8>,
}

impl LokiStreams {
    /// None yet; `tenant_label` is the label that says whose a request's streams are, if any does.
    pub fn new(tenant_label: Option<Box<str>>) -> Self {
        LokiStreams { tenant_label, known: HashMap::new(), known_bytes: 0, key: Vec::new() }
    }
}

impl Streams for LokiStreams {
    fn stream(&mut self, request: &Arc<Stream>, labels: LabelText<'_>) -> Result<Arc<Stream>, Why> {
        let tenant =
            self.tenant_label.as_deref().and_then(|name| request.labels.get(name)).unwrap_or_default();
        self.key.clear();
        // No tenant has a zero byte; JSON and written labels are told apart, as either could look like the other.
        self.key.extend_from_slice(tenant.as_bytes());
        self.key.extend_from_slice(&[0, u8::from(matches!(labels, LabelText::Json(_)))]);
        self.key.extend_from_slice(labels.bytes());
        if let Some(stream) = self.known.get(&self.key[..]) {
            return Ok(Arc::clone(stream));
        }
        let stream = Arc::new(make(request, tenant, labels)?);
        let bytes = self.key.len() + stream.bytes as usize;
        if self.known.len() >= KNOWN_MAX || self.known_bytes + bytes > KNOWN_BYTES_MAX {
            self.known.clear();
            self.known_bytes = 0;
        }
        self.known_bytes += bytes;
        self.known.insert(self.key.as_slice().into(), Arc::clone(&stream));
        Ok(stream)
    }
}

/// The stream with these labels and, over them, those that all of the request have: the source's and the tenant.
fn make(request: &Stream, tenant: &str, labels: LabelText<'_>) -> Result<Stream, Why> {
    let written = labels.read(LABELS_MAX.saturating_sub(request.labels.len()))?;
    if written.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() > LABELS_BYTES_MAX {
        return Err(Why::Says("more than 32768 bytes of labels"));
    }
    // In one order, however they are written: the same set is the same origin, and is kept in order.
    let set = Labels::new(written);
    let mut origin = if tenant.is_empty() { String::new() } else { format!("{tenant}/") };
    origin.push('{');
    for (at, (name, value)) in set.iter().enumerate() {
        let comma = if at > 0 { "," } else { "" };
        origin.push_str(&format!("{comma}{name}={value:?}"));
    }
    origin.push('}');
    if origin.len() > ORIGIN_MAX {
        let sum = crc32c::crc32c(origin.as_bytes());
        origin.truncate(origin.floor_char_boundary(ORIGIN_MAX - 12));
        origin.push_str(&format!("...{sum:08x}"));
    }
    let all = Labels::new(set.iter().chain(request.labels.iter()));
    Ok(Stream::new(request.source, Arc::clone(&request.source_name), request.source_type, origin, all))
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;
    use crate::labels::SourceId;

    fn streams() -> LokiStreams {
        LokiStreams::new(Some("tenant".into()))
    }

    fn request(own: &[(&str, &str)]) -> Arc<Stream> {
        let labels = Labels::new(own.iter().copied());
        Arc::new(Stream::new(SourceId(3), "in".into(), "loki", "127.0.0.1:9", labels))
    }

    fn written(stream: &Stream) -> String {
        stream.labels.iter().map(|(name, value)| format!("{name}={value} ")).collect()
    }

    #[test]
    fn a_label_set_is_one_stream_however_it_is_written() {
        let (mut streams, request) = (streams(), request(&[]));
        let mut get = |labels| streams.stream(&request, labels).unwrap();
        let one = get(LabelText::Written(br#"{b="2",a="1"}"#));
        assert!(Arc::ptr_eq(&one, &get(LabelText::Written(br#"{b="2",a="1"}"#))));
        for same in [LabelText::Written(br#"{ a="1", b="2", }"#), LabelText::Json(br#"{"a":"1","b":"2"}"#)] {
            let other = get(same);
            assert_eq!((&other.origin, other.bucket, &other.labels), (&one.origin, one.bucket, &one.labels));
        }
        assert_eq!((&*one.origin, &*written(&one)), (r#"{a="1",b="2"}"#, "a=1 b=2 "));
        assert_eq!((one.source, &*one.source_name, one.source_type), (SourceId(3), "in", "loki"));
    }

    #[test]
    fn the_tenant_and_the_source_s_own_labels_cannot_be_written_over() {
        let mut streams = streams();
        let labels = LabelText::Written(br#"{env="mine",tenant="root",a="b"}"#);
        let mut get = |own: &[(&str, &str)]| streams.stream(&request(own), labels).unwrap();
        let stream = get(&[("env", "prod"), ("tenant", "team-a")]);
        assert_eq!(written(&stream), "a=b env=prod tenant=team-a ");
        let other = get(&[("env", "prod"), ("tenant", "team-b")]);
        assert_ne!(stream.origin, other.origin, "a tenant's stream is its own");
        assert_eq!(
            written(&get(&[("env", "prod")])),
            "a=b env=prod tenant=root ",
            "without a tenant it is a label"
        );
    }

    #[test]
    fn what_is_remembered_is_bounded_in_sets_and_bytes() {
        let (mut streams, request) = (streams(), request(&[]));
        for n in 0..3 * KNOWN_MAX {
            streams.stream(&request, LabelText::Written(format!("{{a=\"{n}\"}}").as_bytes())).unwrap();
            assert!(streams.known.len() <= KNOWN_MAX);
        }
        let value = "v".repeat(2000);
        for n in 0..3000 {
            let labels: Vec<_> = (0..10).map(|name| format!("l{name}=\"{value}{n}\"")).collect();
            let labels = format!("{{{}}}", labels.join(","));
            streams.stream(&request, LabelText::Written(labels.as_bytes())).unwrap();
            assert!(streams.known_bytes <= KNOWN_BYTES_MAX);
        }
        assert!(streams.known.len() > 100, "and not much less than that");
        let many: Vec<_> = (0..20).map(|name| format!("l{name}=\"{value}\"")).collect();
        let refused =
            streams.stream(&request, LabelText::Written(format!("{{{}}}", many.join(",")).as_bytes()));
        assert_eq!(refused.unwrap_err().to_string(), "more than 32768 bytes of labels");
        let mut origin = |n: &str| {
            let labels = format!("{{a=\"{}{n}\"}}", "\u{e9}".repeat(300));
            streams.stream(&request, LabelText::Written(labels.as_bytes())).unwrap().origin.clone()
        };
        let (one, two) = (origin("1"), origin("2"));
        assert!(one.len() <= ORIGIN_MAX && one != two, "{one}");
    }
}
