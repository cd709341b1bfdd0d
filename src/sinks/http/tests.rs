//! The sink against a destination that does as it is told.

use super::*;
use crate::entry::Kind;
use crate::sinks::client::destination::{Act, Destination, Request, says, status};
use crate::sinks::client::outside;
use crate::sinks::testing::{Builder, add_field, batch_of, block_of, stream};
use serde_json::{Value, json};
use std::time::Duration;

fn sink(there: &Destination, keys: Value) -> HttpSink {
    let mut config = json!({ "url": there.url() + "/in" });
    config.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    HttpSink::new(serde_json::from_value(config).unwrap(), 1).unwrap()
}

fn text(request: &Request) -> &str {
    std::str::from_utf8(&request.body).unwrap()
}

fn objects(request: &Request) -> Vec<Value> {
    text(request).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_body_holds_every_entry_in_its_shape() {
    let there = Destination::start();
    let batch = batch_of(&stream("app", "o", &[("env", "prod")]), &["one", "t\"w\no"]);
    for (body, kind) in [
        ("ndjson", "application/x-ndjson"),
        ("json_array", "application/json"),
        ("lines", "text/plain; charset=utf-8"),
    ] {
        sink(&there, json!({ "body": body, "method": "PUT" })).send(&batch).unwrap();
        let request = there.requests().pop().unwrap();
        assert_eq!((request.method.as_str(), request.target.as_str()), ("PUT", "/in"));
        assert_eq!(request.header("content-type"), Some(kind));
        let entries = match body {
            "ndjson" => objects(&request),
            "json_array" => serde_json::from_str(text(&request)).unwrap(),
            _ => {
                assert_eq!(text(&request), "one\nt\"w\no\n");
                continue;
            }
        };
        let messages: Vec<_> = entries.iter().map(|entry| entry["message"].as_str().unwrap()).collect();
        assert_eq!(messages, ["one", "t\"w\no"]);
        assert_eq!(entries[0]["labels"], json!({ "env": "prod" }));
    }
}

#[test]
fn entries_whose_headers_differ_are_sent_apart_each_once() {
    let there = Destination::start();
    let sink = sink(
        &there,
        json!({ "headers": { "X-Team": "{fields.team}", "X-App": "{source}" }, "body": "lines" }),
    );
    let one = stream("app", "o", &[]);
    let mut block = block_of(&one, &["1", "2", "3", "4"]);
    for (place, team) in ["red", "blue\r\nX-Evil: 1", "red"].into_iter().enumerate() {
        add_field(&mut block, place, b"team", team.as_bytes(), Kind::Plain);
    }
    let (batch, _) = Builder::default().block(block).build();
    sink.send(&batch).unwrap();
    let rows: Vec<_> = there.requests();
    let rows: Vec<_> = rows.iter().map(|request| (request.header("x-team"), text(request))).collect();
    assert_eq!(rows, [(Some("red"), "1\n3\n"), (Some("blue__X-Evil: 1"), "2\n"), (None, "4\n")]);
    assert!(there.requests().iter().all(|request| request.header("x-evil").is_none()));
}

#[test]
fn an_attempt_that_failed_halfway_goes_on_with_the_rest() {
    let there = Destination::start();
    let sink = sink(&there, json!({ "headers": { "X-Origin": "{origin}" }, "body": "lines" }));
    let line = |name: &str| stream("s", name, &[]);
    let builder = Builder::default().lines(&line("a"), &["1"]).lines(&line("b"), &["2"]);
    let (batch, _) = builder.lines(&line("a"), &["3"]).build();
    there.script([status(200), status(503)]);
    assert!(matches!(sink.send(&batch), Err(SendError::Retry { .. })));
    assert_eq!(batch.left(), 1);
    assert!(sink.send(&batch).is_ok());
    let bodies: Vec<_> = there.requests().iter().map(|request| text(request).to_string()).collect();
    assert_eq!(bodies, ["1\n3\n", "2\n", "2\n"]);
}

#[test]
fn bodies_are_packed_as_asked() {
    let there = Destination::start();
    let lines: Vec<String> = (0..2000).map(|n| format!("{} line {n} of {}", n * n, n % 7)).collect();
    let batch = batch_of(&stream("s", "o", &[]), &lines);
    let whole = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    for compression in ["gzip", "zstd"] {
        let keys = json!({ "compression": compression, "compression_level": 3, "body": "lines" });
        sink(&there, keys).send(&batch).unwrap();
        let request = there.requests().pop().unwrap();
        assert_eq!(request.header("content-encoding"), Some(compression));
        let mut unpacked = Vec::new();
        match compression {
            "gzip" => {
                use std::io::Read;
                flate2::read::GzDecoder::new(&*request.body).read_to_end(&mut unpacked).unwrap();
            }
            _ => unpacked = zstd::decode_all(&*request.body).unwrap(),
        }
        assert_eq!(unpacked, whole.as_bytes());
        let size = |level: u8| {
            let keys = json!({ "compression": compression, "compression_level": level, "body": "lines" });
            sink(&there, keys).send(&batch).unwrap();
            there.requests().pop().unwrap().body.len()
        };
        assert_ne!(size(9), size(1), "{compression}: another level packs otherwise");
    }
}

#[test]
fn every_answer_leads_to_what_the_manual_says() {
    let there = Destination::start();
    let sink = sink(&there, json!({ "timeout": "5s" }));
    let batch = batch_of(&stream("s", "o", &[]), &["secret canary4711", "2"]);
    let send = |act: Act| {
        there.script([act]);
        sink.send(&batch)
    };
    assert!(send(status(200)).is_ok() && send(Act::Huge(200)).is_ok());
    for reject in [400, 413, 422] {
        let Err(SendError::Reject(said)) = send(says(reject, "bad: canary4711")) else { panic!("{reject}") };
        assert!(said.why.contains("bad") && !said.why.contains("canary"), "{said}");
        assert_eq!(said.status, Some(reject));
    }
    for denied in [301, 401, 403, 404] {
        assert!(matches!(send(status(denied)), Err(SendError::Denied(_))), "{denied}");
    }
    for failed in [500, 501, 520] {
        let Err(SendError::Failed { said, after: None }) = send(status(failed)) else { panic!("{failed}") };
        assert_eq!(said.status, Some(failed));
    }
    for act in [status(502), status(408), Act::ResetBefore, Act::ResetAfter, Act::Half, Act::DripHead] {
        let said = format!("{act:?}");
        assert!(matches!(send(act), Err(SendError::Retry { after: None, .. })), "{said}");
    }
    // One entry alone is the one that is wrong.
    there.script([says(400, "bad")]);
    let alone = batch_of(&stream("s", "o", &[]), &["1"]);
    sink.send(&alone).unwrap();
    assert_eq!(alone.progress().refused()[0].said.status, Some(400));
    let waits = Act::Answer(503, vec![("Retry-After", "9".into())], Vec::new());
    let Err(SendError::Retry { after, .. }) = send(waits) else { panic!() };
    assert_eq!(after, Some(Duration::from_secs(9)));
}

#[test]
fn a_header_of_ones_own_is_checked_and_a_credential_hidden() {
    let read = |headers: Value| {
        let config = json!({ "url": "http://h", "headers": headers });
        serde_json::from_value::<HttpSinkConfig>(config).map_err(|error| error.to_string())
    };
    for (name, value, says) in [
        ("a b", "x", "name of a header"),
        ("Content-Length", "1", "it is counted"),
        ("content-encoding", "gzip", "use `compression`"),
        ("X-A", "a\r\nb", "printable"),
        ("X-Api-Key", "file:/nowhere/at/all", "cannot be read"),
    ] {
        let error = read(json!({ name: value })).unwrap_err();
        assert!(error.contains(says), "{name}: {error}");
    }
    assert!(read(json!({ "X-A": "1", "x-a": "2" })).unwrap_err().contains("twice"));
    let config = read(json!({ "X-Api-Key": "canary", "X-A": "open" })).unwrap();
    let shown = serde_json::to_string(&config).unwrap();
    assert!(shown.contains("open") && !shown.contains("canary"), "{shown}");
}

#[test]
fn a_destination_that_says_nothing_is_left_after_the_time_it_was_given() {
    outside::timeouts_are_those_of_the_config(&made);
}

#[test]
fn who_we_are_whom_we_trust_and_the_way_are_those_of_the_config() {
    outside::tls_auth_and_proxy_are_those_of_the_config(&made);
}

fn made(keys: Value) -> Box<dyn Sink> {
    Box::new(HttpSink::new(serde_json::from_value(keys).unwrap(), 1).unwrap())
}

#[test]
fn keys_that_do_not_fit_together_are_named() {
    let key = |keys: Value| {
        let config = serde_json::from_value::<HttpSinkConfig>(keys).unwrap();
        config.problem().map(|(key, _, _)| key)
    };
    let http = "http://h";
    assert_eq!(key(json!({ "url": http })), None);
    assert_eq!(key(json!({ "url": http, "tls": {} })), Some("tls"));
    assert_eq!(key(json!({ "url": http, "compression_level": 3 })), Some("compression_level"));
    let credentials = json!({ "username": "a", "password": "b" });
    assert_eq!(key(json!({ "url": http, "proxy_auth": credentials })), Some("proxy_auth"));
    assert_eq!(key(json!({ "url": http, "proxy": "http://p/path" })), Some("proxy"));
    let both = json!({ "url": http, "auth": credentials, "headers": { "Authorization": "Splunk x" } });
    assert_eq!(key(both), Some("headers"));
}
