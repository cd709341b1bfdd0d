//! The lines of a Loki push: protobuf in snappy.

use prost::Message;

#[derive(Clone, PartialEq, Message)]
struct Push {
    #[prost(message, repeated, tag = "1")]
    streams: Vec<Stream>,
}

#[derive(Clone, PartialEq, Message)]
struct Stream {
    #[prost(string, tag = "1")]
    labels: String,
    #[prost(message, repeated, tag = "2")]
    entries: Vec<Entry>,
}

#[derive(Clone, PartialEq, Message)]
struct Entry {
    #[prost(string, tag = "2")]
    line: String,
}

/// The labels of each stream and its lines, in order.
pub fn lines(body: &[u8]) -> Option<Vec<(String, Vec<String>)>> {
    let plain = snap::raw::Decoder::new().decompress_vec(body).ok()?;
    let push = Push::decode(&plain[..]).ok()?;
    let stream =
        |stream: Stream| (stream.labels, stream.entries.into_iter().map(|entry| entry.line).collect());
    Some(push.streams.into_iter().map(stream).collect())
}
