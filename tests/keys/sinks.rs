//! The `loki` and `http` sinks.

#[path = "../support/destination.rs"]
mod destination;

use super::support::*;
use super::{dir, with_input};
use destination::{Destination, status};
use serde_json::Value;

/// Each key, and the test that shows it.
pub const SHOWN: &[(&str, &str)] = &[
    ("sinks.http.type", "tests/keys/sinks.rs:an_http_sink_sends_what_where_and_how_it_was_told"),
    ("sinks.http.url", "tests/keys/sinks.rs:an_http_sink_sends_what_where_and_how_it_was_told"),
    ("sinks.http.method", "tests/keys/sinks.rs:an_http_sink_sends_what_where_and_how_it_was_told"),
    ("sinks.http.body", "tests/keys/sinks.rs:an_http_sink_sends_what_where_and_how_it_was_told"),
    ("sinks.http.headers", "tests/keys/sinks.rs:an_http_sink_sends_what_where_and_how_it_was_told"),
    ("sinks.http.compression", "tests/keys/sinks.rs:an_http_sink_sends_what_where_and_how_it_was_told"),
    ("sinks.http.compression_level", "src/sinks/http/tests.rs:bodies_are_packed_as_asked"),
    (
        "sinks.http.auth.username",
        "src/sinks/http/tests.rs:who_we_are_whom_we_trust_and_the_way_are_those_of_the_config",
    ),
    (
        "sinks.http.auth.password",
        "src/sinks/http/tests.rs:who_we_are_whom_we_trust_and_the_way_are_those_of_the_config",
    ),
    (
        "sinks.http.tls.ca",
        "src/sinks/http/tests.rs:who_we_are_whom_we_trust_and_the_way_are_those_of_the_config",
    ),
    (
        "sinks.http.tls.cert",
        "src/sinks/http/tests.rs:who_we_are_whom_we_trust_and_the_way_are_those_of_the_config",
    ),
    (
        "sinks.http.tls.key",
        "src/sinks/http/tests.rs:who_we_are_whom_we_trust_and_the_way_are_those_of_the_config",
    ),
    (
        "sinks.http.tls.server_name",
        "src/sinks/http/tests.rs:who_we_are_whom_we_trust_and_the_way_are_those_of_the_config",
    ),
    (
        "sinks.http.proxy",
        "src/sinks/http/tests.rs:who_we_are_whom_we_trust_and_the_way_are_those_of_the_config",
    ),
    (
        "sinks.http.proxy_auth.username",
        "src/sinks/http/tests.rs:who_we_are_whom_we_trust_and_the_way_are_those_of_the_config",
    ),
    (
        "sinks.http.proxy_auth.password",
        "src/sinks/http/tests.rs:who_we_are_whom_we_trust_and_the_way_are_those_of_the_config",
    ),
    (
        "sinks.http.connect_timeout",
        "src/sinks/http/tests.rs:a_destination_that_says_nothing_is_left_after_the_time_it_was_given",
    ),
    (
        "sinks.http.timeout",
        "src/sinks/http/tests.rs:a_destination_that_says_nothing_is_left_after_the_time_it_was_given",
    ),
];

/// What a sink with these keys sends of `count` numbered lines, once all of them are delivered.
fn sent(keys: &str, acts: Vec<destination::Act>, count: usize) -> Vec<destination::Request> {
    let (there, dir) = (Destination::start(), dir());
    there.script(acts);
    let rest = format!(
        "sources: {{ in: {{ type: stdin, labels: {{ team: red }} }} }}\nsinks:\n  out: {{ url: \"{}/in\", {keys} }}\n",
        there.url()
    );
    let input: String = (0..count).map(|n| format!("line {n}\n")).collect();
    let (mut instance, writer) = with_input(dir.path(), &rest, &input);
    let stats = instance.wait_delivered("out", count as u64);
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
fn a_batch_is_kept_while_its_destination_is_not_well_and_delivered_once() {
    let keys = "type: http, body: lines, retry: { backoff: 10ms, backoff_max: 50ms }";
    let acts =
        vec![status(503), destination::Act::ResetBefore, status(429), status(401), status(404), status(200)];
    let requests = sent(keys, acts, 1);
    assert_eq!(requests.len(), 5, "all but the reset one were taken in");
    assert!(requests.iter().all(|request| request.body == b"line 0\n"));
}
