//! The `loki` and `http` sinks.

#[path = "../support/destination.rs"]
mod destination;

use super::support::tls::{self, Authority, VALID};
use super::support::*;
use super::{dir, with_input, write};
use destination::{Destination, status};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

/// Each key, and the test that shows it.
pub const SHOWN: &[(&str, &str)] = &[
    ("sinks.loki.type", "tests/keys/sinks.rs:a_loki_sink_pushes_what_where_and_as_it_was_told"),
    ("sinks.loki.url", "tests/keys/sinks.rs:a_loki_sink_pushes_what_where_and_as_it_was_told"),
    ("sinks.loki.labels", "tests/keys/sinks.rs:a_loki_sink_pushes_what_where_and_as_it_was_told"),
    ("sinks.loki.tenant", "tests/keys/sinks.rs:a_loki_sink_pushes_what_where_and_as_it_was_told"),
    ("sinks.loki.encoding", "tests/keys/sinks.rs:a_loki_sink_pushes_what_where_and_as_it_was_told"),
    ("sinks.loki.format", "tests/keys/sinks.rs:a_loki_sink_pushes_what_where_and_as_it_was_told"),
    (
        "sinks.loki.structured_metadata",
        "tests/keys/sinks.rs:a_loki_sink_pushes_what_where_and_as_it_was_told",
    ),
    (
        "sinks.loki.max_labels",
        "tests/keys/sinks.rs:labels_and_label_sets_beyond_their_budgets_go_beside_the_line",
    ),
    (
        "sinks.loki.max_streams",
        "tests/keys/sinks.rs:labels_and_label_sets_beyond_their_budgets_go_beside_the_line",
    ),
    (
        "sinks.loki.auth.bearer",
        "tests/keys/sinks.rs:a_loki_sink_shows_itself_trusts_and_goes_the_way_it_was_told",
    ),
    ("sinks.loki.tls.ca", "tests/keys/sinks.rs:a_loki_sink_shows_itself_trusts_and_goes_the_way_it_was_told"),
    (
        "sinks.loki.tls.cert",
        "tests/keys/sinks.rs:a_loki_sink_shows_itself_trusts_and_goes_the_way_it_was_told",
    ),
    (
        "sinks.loki.tls.key",
        "tests/keys/sinks.rs:a_loki_sink_shows_itself_trusts_and_goes_the_way_it_was_told",
    ),
    (
        "sinks.loki.tls.server_name",
        "tests/keys/sinks.rs:a_loki_sink_shows_itself_trusts_and_goes_the_way_it_was_told",
    ),
    ("sinks.loki.proxy", "tests/keys/sinks.rs:a_loki_sink_shows_itself_trusts_and_goes_the_way_it_was_told"),
    (
        "sinks.loki.proxy_auth.username",
        "tests/keys/sinks.rs:a_loki_sink_shows_itself_trusts_and_goes_the_way_it_was_told",
    ),
    (
        "sinks.loki.proxy_auth.password",
        "tests/keys/sinks.rs:a_loki_sink_shows_itself_trusts_and_goes_the_way_it_was_told",
    ),
    (
        "sinks.loki.connect_timeout",
        "tests/keys/sinks.rs:a_loki_that_says_nothing_is_left_after_the_time_it_was_given",
    ),
    (
        "sinks.loki.timeout",
        "tests/keys/sinks.rs:a_loki_that_says_nothing_is_left_after_the_time_it_was_given",
    ),
    ("sinks.http.type", "tests/keys/sinks.rs:an_http_sink_sends_what_where_and_how_it_was_told"),
    ("sinks.http.url", "tests/keys/sinks.rs:an_http_sink_sends_what_where_and_how_it_was_told"),
    ("sinks.http.method", "tests/keys/sinks.rs:an_http_sink_sends_what_where_and_how_it_was_told"),
    ("sinks.http.body", "tests/keys/sinks.rs:an_http_sink_sends_what_where_and_how_it_was_told"),
    ("sinks.http.headers", "tests/keys/sinks.rs:an_http_sink_sends_what_where_and_how_it_was_told"),
    ("sinks.http.compression", "tests/keys/sinks.rs:an_http_sink_sends_what_where_and_how_it_was_told"),
    ("sinks.http.compression_level", "tests/keys/sinks.rs:a_body_is_packed_at_the_level_it_was_told"),
    (
        "sinks.http.auth.username",
        "tests/keys/sinks.rs:an_http_sink_shows_itself_trusts_and_goes_the_way_it_was_told",
    ),
    (
        "sinks.http.auth.password",
        "tests/keys/sinks.rs:an_http_sink_shows_itself_trusts_and_goes_the_way_it_was_told",
    ),
    (
        "sinks.http.tls.ca",
        "tests/keys/sinks.rs:an_http_sink_shows_itself_trusts_and_goes_the_way_it_was_told",
    ),
    (
        "sinks.http.tls.cert",
        "tests/keys/sinks.rs:an_http_sink_shows_itself_trusts_and_goes_the_way_it_was_told",
    ),
    (
        "sinks.http.tls.key",
        "tests/keys/sinks.rs:an_http_sink_shows_itself_trusts_and_goes_the_way_it_was_told",
    ),
    (
        "sinks.http.tls.server_name",
        "tests/keys/sinks.rs:an_http_sink_shows_itself_trusts_and_goes_the_way_it_was_told",
    ),
    ("sinks.http.proxy", "tests/keys/sinks.rs:an_http_sink_shows_itself_trusts_and_goes_the_way_it_was_told"),
    (
        "sinks.http.proxy_auth.username",
        "tests/keys/sinks.rs:an_http_sink_shows_itself_trusts_and_goes_the_way_it_was_told",
    ),
    (
        "sinks.http.proxy_auth.password",
        "tests/keys/sinks.rs:an_http_sink_shows_itself_trusts_and_goes_the_way_it_was_told",
    ),
    (
        "sinks.http.connect_timeout",
        "tests/keys/sinks.rs:a_destination_that_says_nothing_is_left_after_the_time_it_was_given",
    ),
    (
        "sinks.http.timeout",
        "tests/keys/sinks.rs:a_destination_that_says_nothing_is_left_after_the_time_it_was_given",
    ),
];

/// What a sink with these keys sends of `count` numbered lines, once all of them are delivered.
fn sent(keys: &str, acts: Vec<destination::Act>, count: usize) -> Vec<destination::Request> {
    let input: String = (0..count).map(|n| format!("line {n}\n")).collect();
    sent_of(keys, acts, &input)
}

/// The same of these lines.
fn sent_of(keys: &str, acts: Vec<destination::Act>, input: &str) -> Vec<destination::Request> {
    let (there, dir) = (Destination::start(), dir());
    there.script(acts);
    let rest = format!(
        "sources: {{ in: {{ type: stdin, labels: {{ team: red }} }} }}\nsinks:\n  out: {{ url: \"{}/in\", {keys} }}\n",
        there.url()
    );
    let (mut instance, writer) = with_input(dir.path(), &rest, input);
    let stats = instance.wait_delivered("out", input.lines().count() as u64);
    assert_ledger(&stats);
    assert_eq!(instance.terminate(), 0);
    drop(writer.join());
    there.requests()
}

#[test]
fn an_http_sink_sends_what_where_and_how_it_was_told() {
    let plain = sent("type: http", vec![], 3);
    assert!(plain.iter().all(|request| request.method == "POST" && request.target == "/in"));
    let objects: Vec<Value> = plain
        .iter()
        .flat_map(|request| request.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()))
        .map(|line| serde_json::from_slice(line).expect("an object"))
        .collect();
    let messages: Vec<_> = objects.iter().map(|object| object["message"].as_str().expect("text")).collect();
    assert_eq!(messages, ["line 0", "line 1", "line 2"]);

    let keys =
        "type: http, method: PUT, body: lines, compression: zstd, headers: { X-Team: \"{labels.team}\" }";
    let told = sent(keys, vec![], 3);
    let unpacked: Vec<u8> =
        told.iter().flat_map(|request| zstd::decode_all(&*request.body).expect("zstd")).collect();
    assert_eq!(unpacked, b"line 0\nline 1\nline 2\n");
    assert!(told.iter().all(|request| request.method == "PUT" && request.header("x-team") == Some("red")));
}

#[test]
fn a_body_is_packed_at_the_level_it_was_told() {
    // One line, and so one body.
    let words = (0..2000).map(|n| format!("{} word {n} of {};", n * n, n % 7));
    let line = words.collect::<String>() + "\n";
    for compression in ["gzip", "zstd"] {
        let size = |level: &str| {
            let keys = format!("type: http, body: lines, compression: {compression}{level}");
            sent_of(&keys, vec![], &line)[0].body.len()
        };
        let (usual, fastest) = (size(""), size(", compression_level: 1"));
        assert_eq!(usual, fastest, "{compression}");
        assert_ne!(size(", compression_level: 9"), fastest, "{compression}: another level packs otherwise");
    }
}

/// A proxy that lets through who shows `knows`, and has `elsewhere.invalid` on this host.
fn proxy(knows: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            std::thread::spawn(move || pass_on(client, knows));
        }
    });
    address
}

/// Ends when either side hangs up.
fn pass_on(client: TcpStream, knows: &str) -> Option<()> {
    let mut reader = BufReader::new(&client);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        (reader.read_line(&mut head).ok()? > 0).then_some(())?;
    }
    if !head.contains(&format!("\r\nProxy-Authorization: {knows}\r\n")) {
        return (&client).write_all(b"HTTP/1.1 407 Who\r\n\r\n").ok();
    }
    let port = head.strip_prefix("CONNECT elsewhere.invalid:")?.split(' ').next()?.parse::<u16>().ok()?;
    let there = TcpStream::connect(("127.0.0.1", port)).ok()?;
    (&client).write_all(b"HTTP/1.1 200 Connected\r\n\r\n").ok()?;
    let (mut back, mut to) = (there.try_clone().ok()?, client.try_clone().ok()?);
    std::thread::spawn(move || std::io::copy(&mut back, &mut to));
    std::io::copy(&mut reader, &mut &there).ok().map(drop)
}

/// What a sink of this type shows to a destination behind a proxy that both want to know whom they deal with.
fn shown_on_the_way(kind: &str, auth: &str) -> Option<String> {
    let (ours, dir) = (Authority::new("ours"), dir());
    write(&dir.path().join("ca.pem"), &ours.pem());
    ours.sign("us", VALID).write(dir.path(), "us");
    // Its certificate says `localhost`.
    let there = Destination::with_tls(tls::server(&ours.sign("there", VALID), Some(&ours)));
    let rest = format!(
        "sources: {{ in: {{ type: stdin }} }}\nsinks:\n  out:\n    type: {kind}\n    \
         url: 'https://elsewhere.invalid:{}'\n    auth: {auth}\n    \
         proxy: 'http://{}'\n    proxy_auth: {{ username: eve, password: pw }}\n    \
         tls: {{ ca: ca.pem, cert: us.pem, key: us.key, server_name: localhost }}\n",
        there.port(),
        proxy("Basic ZXZlOnB3")
    );
    let (mut instance, _writer) = with_input(dir.path(), &rest, "x\n");
    instance.wait_delivered("out", 1);
    there.requests()[0].header("authorization").map(String::from)
}

#[test]
fn a_loki_sink_shows_itself_trusts_and_goes_the_way_it_was_told() {
    let shown = shown_on_the_way("loki", "{ bearer: t0ken }");
    assert_eq!(shown.as_deref(), Some("Bearer t0ken"));
}

#[test]
fn an_http_sink_shows_itself_trusts_and_goes_the_way_it_was_told() {
    let shown = shown_on_the_way("http", "{ username: ann, password: pw }");
    assert_eq!(shown.as_deref(), Some("Basic YW5uOnB3"));
}

/// Asserts that a sink of this type leaves those that say nothing after the time it was given.
fn assert_is_left(kind: &str) {
    let (there, dir) = (Destination::start(), dir());
    there.always(destination::Act::Silence);
    // Takes connections and never greets.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    write(&dir.path().join("ca.pem"), &Authority::new("ours").pem());
    // By default the greeting would be waited for longer than all of the request may take.
    let rest = format!(
        "sources: {{ in: {{ type: stdin }} }}\nsinks:\n  \
         mute: {{ type: {kind}, url: '{}', timeout: 200ms, retry: {{ backoff: 10ms }} }}\n  \
         cold: {{ type: {kind}, url: 'https://{}', timeout: 4s, connect_timeout: 200ms, tls: {{ ca: ca.pem }} }}\n",
        there.url(),
        silent.local_addr().expect("bound")
    );
    let (mut instance, _writer) = with_input(dir.path(), &rest, "x\n");
    there.wait("it is asked again long before a minute is over", |requests| requests.len() > 1);
    for (sink, why) in [("mute", "within `timeout`"), ("cold", "within `connect_timeout`")] {
        let line = instance.wait_log(&format!("sink {sink}: 1 entries kept, next attempt in "));
        assert!(line.ends_with(why), "{line}");
    }
}

#[test]
fn a_loki_that_says_nothing_is_left_after_the_time_it_was_given() {
    assert_is_left("loki");
}

#[test]
fn a_destination_that_says_nothing_is_left_after_the_time_it_was_given() {
    assert_is_left("http");
}

/// The pushes of a Loki sink with these keys that was given `lines` by a pipeline that reads JSON, and what its
/// metrics say of streams in the end.
fn pushed(keys: &str, lines: &[&str]) -> (Vec<destination::Request>, String) {
    let (there, dir) = (Destination::start(), dir());
    // JSON where nothing else is asked for: it is easier to read.
    let encoding = if keys.contains("encoding") { "" } else { "encoding: json, " };
    let rest = format!(
        "sources: {{ in: {{ type: stdin, labels: {{ team: red, zone: a }}, pipeline: p }} }}\n\
         pipelines: {{ p: [ {{ parse: json }} ] }}\n\
         sinks:\n  out: {{ type: loki, {encoding}url: \"{}\", {keys} }}\n",
        there.url()
    );
    let input: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let (mut instance, writer) = with_input(dir.path(), &rest, &input);
    let stats = instance.wait_delivered("out", lines.len() as u64);
    assert_ledger(&stats);
    let metrics = instance.get("/metrics").1;
    assert_eq!(instance.terminate(), 0);
    drop(writer.join());
    (there.requests(), metrics)
}

/// The values of all streams of all pushes, with the stream they are of.
fn values(requests: &[destination::Request]) -> Vec<(Value, String, Value)> {
    let read = |request: &destination::Request| -> Value {
        let mut text = String::new();
        flate2::read::GzDecoder::new(&*request.body).read_to_string(&mut text).expect("gzip");
        serde_json::from_str(&text).expect("JSON")
    };
    let mut all = Vec::new();
    for push in requests.iter().map(read) {
        for stream in push["streams"].as_array().expect("streams") {
            for row in stream["values"].as_array().expect("values") {
                let line = row[1].as_str().expect("a line").to_string();
                all.push((stream["stream"].clone(), line, row.get(2).cloned().unwrap_or(Value::Null)));
            }
        }
    }
    all
}

#[test]
fn a_loki_sink_pushes_what_where_and_as_it_was_told() {
    let line = r#"{"level":"info","id":"7"}"#;
    let (plain, _) = pushed("concurrency: 1", &[line]);
    assert_eq!((plain[0].method.as_str(), plain[0].target.as_str()), ("POST", "/loki/api/v1/push"));
    assert_eq!(plain[0].header("x-scope-orgid"), None);
    let labels = json!({ "source": "in", "team": "red", "zone": "a" });
    assert_eq!(values(&plain), [(labels, line.to_string(), Value::Null)]);

    let keys = "tenant: \"t-{labels.team}\", labels: { level: \"{fields.level}\" }, structured_metadata: [id], format: logfmt";
    let (told, _) = pushed(keys, &[line]);
    assert_eq!(told[0].header("x-scope-orgid"), Some("t-red"));
    let (stream, text, beside) = values(&told).remove(0);
    assert_eq!((stream, beside), (json!({ "level": "info" }), json!({ "id": "7" })));
    assert!(text.starts_with("time=") && text.ends_with("level=info id=7"), "{text}");

    let (packed, _) = pushed("encoding: protobuf", &[line]);
    assert_eq!(packed[0].header("content-type"), Some("application/x-protobuf"));
    let body = snap::raw::Decoder::new().decompress_vec(&packed[0].body).expect("snappy");
    assert!(body.windows(line.len()).any(|part| part == line.as_bytes()));
}

#[test]
fn labels_and_label_sets_beyond_their_budgets_go_beside_the_line() {
    let (few, metrics) = pushed("max_labels: 2", &["x"]);
    let stream = json!({ "source": "in", "team": "red" });
    assert_eq!(values(&few), [(stream, "x".to_string(), json!({ "zone": "a" }))]);
    assert!(metrics.contains("dispatcher_sink_overflowed_total{sink=\"out\"} 0\n"), "{metrics}");

    let users = [r#"{"u":"a"}"#, r#"{"u":"b"}"#, r#"{"u":"c"}"#];
    let (some, metrics) = pushed("max_streams: 2, labels: { u: \"{fields.u}\" }", &users);
    assert!(metrics.contains("dispatcher_sink_overflowed_total{sink=\"out\"} 1\n"), "{metrics}");
    let expected = [
        (json!({ "u": "a" }), users[0].to_string(), Value::Null),
        (json!({ "u": "b" }), users[1].to_string(), Value::Null),
        (json!({ "__overflow__": "true" }), users[2].to_string(), json!({ "u": "c" })),
    ];
    assert_eq!(values(&some), expected);
}

#[test]
fn a_batch_is_kept_while_its_destination_is_not_well_and_delivered_once() {
    let keys = "type: http, body: lines, retry: { backoff: 10ms, backoff_max: 50ms }";
    let acts =
        vec![status(503), destination::Act::ResetBefore, status(429), status(401), status(404), status(200)];
    let requests = sent(keys, acts, 1);
    assert_eq!(requests.len(), 5, "all but the reset one were taken in");
    assert!(requests.iter().all(|request| request.body == b"line 0\n"));
}
