//! A push to Loki as its clients make it, by an encoder that is not ours.

use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub struct Push {
    #[prost(message, repeated, tag = "1")]
    pub streams: Vec<PushStream>,
}

#[derive(Clone, PartialEq, Message)]
pub struct PushStream {
    #[prost(string, tag = "1")]
    pub labels: String,
    #[prost(message, repeated, tag = "2")]
    pub entries: Vec<PushEntry>,
}

#[derive(Clone, PartialEq, Message)]
pub struct PushEntry {
    #[prost(message, optional, tag = "1")]
    pub timestamp: Option<Timestamp>,
    #[prost(string, tag = "2")]
    pub line: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct Timestamp {
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

/// One stream with these lines; `time` gives the nanoseconds of each.
pub fn push(lines: &[String], time: impl Fn(usize) -> u64) -> Vec<u8> {
    let entries = lines.iter().enumerate().map(|(n, line)| {
        let time = time(n) as i64;
        let timestamp = Timestamp { seconds: time / 1_000_000_000, nanos: (time % 1_000_000_000) as i32 };
        PushEntry { timestamp: Some(timestamp), line: line.clone() }
    });
    let stream = PushStream { labels: "{app=\"x\"}".into(), entries: entries.collect() };
    Push { streams: vec![stream] }.encode_to_vec()
}

/// As it is sent.
pub fn packed(push: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(push).expect("it fits")
}
