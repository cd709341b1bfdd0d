//! The keys of the HTTP server and the `http` source.

use super::support::http::{Client, post};
use super::support::*;
use super::{config, dir, lines_of, source};

pub const SHOWN: &[(&str, &str)] = &[
    ("admin.token", "tests/keys/http.rs:only_who_shows_the_token_may_change_anything"),
    (
        "sources.http.type",
        "tests/keys/http.rs:bodies_are_read_as_their_path_and_labelled_as_their_headers_say",
    ),
    (
        "sources.http.listen",
        "tests/keys/http.rs:bodies_are_read_as_their_path_and_labelled_as_their_headers_say",
    ),
    (
        "sources.http.paths./",
        "tests/keys/http.rs:bodies_are_read_as_their_path_and_labelled_as_their_headers_say",
    ),
    (
        "sources.http.header_labels.tenant",
        "tests/keys/http.rs:bodies_are_read_as_their_path_and_labelled_as_their_headers_say",
    ),
    ("sources.http.auth.username", "tests/keys/http.rs:only_who_shows_the_credentials_may_send"),
    ("sources.http.auth.password", "tests/keys/http.rs:only_who_shows_the_credentials_may_send"),
    ("sources.http.ack", "tests/keys/http.rs:an_answer_waits_for_what_was_promised_and_as_long_as_asked"),
    (
        "sources.http.ack_timeout",
        "tests/keys/http.rs:an_answer_waits_for_what_was_promised_and_as_long_as_asked",
    ),
    ("sources.http.max_entry", "tests/keys/http.rs:entries_and_bodies_have_the_limits_they_were_given"),
    ("sources.http.max_body", "tests/keys/http.rs:entries_and_bodies_have_the_limits_they_were_given"),
    ("sources.http.max_inflated", "tests/keys/http.rs:entries_and_bodies_have_the_limits_they_were_given"),
    (
        "sources.http.body_memory",
        "tests/keys/http.rs:while_bodies_have_most_of_their_memory_others_are_told_to_wait",
    ),
    ("sources.http.decoders", "tests/keys/http.rs:bodies_are_read_by_as_many_threads_as_asked"),
    ("sources.http.max_connections", "tests/keys/http.rs:connections_beyond_a_limit_are_told_so_and_closed"),
    (
        "sources.http.max_connections_per_address",
        "tests/keys/http.rs:connections_beyond_a_limit_are_told_so_and_closed",
    ),
    ("sources.http.header_timeout", "tests/keys/http.rs:slow_and_silent_clients_have_as_long_as_asked"),
    ("sources.http.min_body_rate", "tests/keys/http.rs:slow_and_silent_clients_have_as_long_as_asked"),
    ("sources.http.idle_timeout", "tests/keys/http.rs:slow_and_silent_clients_have_as_long_as_asked"),
];

fn url(instance: &mut Instance, source: &str) -> String {
    instance.address(&format!("source {source} "), "http://")
}

const OUT: &str = "sinks: { out: { type: file, path: \"out/{source}\" } }\n";

#[test]
fn bodies_are_read_as_their_path_and_labelled_as_their_headers_say() {
    let dir = dir();
    let text = config(
        r#"
sources:
  auto:  { type: http, listen: ["tcp://127.0.0.1:0"], header_labels: { tenant: X-Tenant } }
  named: { type: http, listen: ["tcp://127.0.0.1:0", "tcp://127.0.0.1:0"], paths: { /l: lines, /n: ndjson } }
sinks: { out: { type: file, path: "out/{source}", format: json } }
"#,
    );
    let mut instance = Instance::start(dir.path(), &text);
    let (auto, named) = (url(&mut instance, "auto"), url(&mut instance, "named"));
    let json = "Content-Type: application/json\r\n";
    assert_eq!(post(&auto, "/", &format!("{json}X-Tenant: blue\r\n"), "[\"one\",\"two\"]").status, 200);
    assert_eq!(post(&auto, "/l", json, "[]").status, 404);
    assert_eq!(post(&named, "/", json, "[]").status, 404);
    assert_eq!(post(&named, "/l", json, "[\"one\"]").body, "{\"taken\":1,\"refused\":0}\n");
    assert_eq!(post(&named, "/n", "", "\"three\"\nfour\n").status, 207);
    instance.wait_delivered("out", 4);
    let stats = instance.stats();
    assert_eq!(row(&stats, "sources", "named")["listening"].as_array().map(Vec::len), Some(2));
    let messages = |source: &str| -> Vec<(String, String)> {
        let lines = lines_of(&dir.path().join("out").join(source));
        let text = |value: &serde_json::Value| value.as_str().unwrap_or("-").to_string();
        let entry = |line: &String| serde_json::from_str::<serde_json::Value>(line).expect("JSON");
        lines
            .iter()
            .map(entry)
            .map(|entry| (text(&entry["message"]), text(&entry["labels"]["tenant"])))
            .collect()
    };
    let pair = |message: &str, tenant: &str| (message.to_string(), tenant.to_string());
    assert_eq!(messages("auto"), [pair("one", "blue"), pair("two", "blue")]);
    assert_eq!(messages("named"), [pair("[\"one\"]", "-"), pair("three", "-")]);
}

#[test]
fn only_who_shows_the_credentials_may_send() {
    let dir = dir();
    let text = config(&format!(
        r#"
sources:
  open:   {{ type: http, listen: ["tcp://127.0.0.1:0"] }}
  basic:  {{ type: http, listen: ["tcp://127.0.0.1:0"], auth: {{ username: ann, password: "p:w" }} }}
  bearer: {{ type: http, listen: ["tcp://127.0.0.1:0"], auth: {{ bearer: t0ken }} }}
{OUT}"#
    ));
    let mut instance = Instance::start(dir.path(), &text);
    let ask = |instance: &mut Instance, source: &str, fields: &str| {
        post(&url(instance, source), "/", fields, "hello")
    };
    let basic = "Authorization: Basic YW5uOnA6dw==\r\n";
    let bearer = "authorization: bearer t0ken\r\n";
    assert_eq!(ask(&mut instance, "open", "").status, 200);
    let statuses = ["", basic, bearer].map(|fields| ask(&mut instance, "basic", fields).status);
    assert_eq!(statuses, [401, 200, 401]);
    let statuses = ["", basic, bearer].map(|fields| ask(&mut instance, "bearer", fields).status);
    assert_eq!(statuses, [401, 401, 200]);
    assert!(
        ask(&mut instance, "basic", "")
            .field("www-authenticate")
            .is_some_and(|says| says.starts_with("Basic"))
    );
    let stats = instance.wait_delivered("out", 3);
    assert_eq!(row(&stats, "sources", "basic")["requests"], serde_json::json!({ "200": 1, "401": 3 }));
    assert!(!instance.log().contains("t0ken"));
}

#[test]
fn only_who_shows_the_token_may_change_anything() {
    let dir = dir();
    for (token, status) in [("", 403), (", token: t0ken", 404)] {
        let text = format!(
            "data_dir: state\nadmin: {{ listen: \"127.0.0.1:0\"{token} }}\nsources: {{ in: {{ type: stdin }} }}\n{OUT}"
        );
        let mut instance = Instance::start(dir.path(), &text);
        let admin = instance.address("admin: http", "http://");
        let ask = |token: &str| {
            let fields = format!("Authorization: Bearer {token}\r\n");
            Client::connect(&admin).ask_as("localhost", "/nothing", &fields, "")
        };
        assert_eq!(ask("t0ken").status, status, "there is nothing to be done here, but who may is told so");
        assert_eq!(ask("wrong").status, if status == 403 { 403 } else { 401 });
    }
}

#[test]
fn an_answer_waits_for_what_was_promised_and_as_long_as_asked() {
    let dir = dir();
    // Nobody reads what the console writes: after what the pipe holds, nothing is delivered any more.
    let text = config(
        r#"
sources:
  delivered: { type: http, listen: ["tcp://127.0.0.1:0"], ack_timeout: 300ms }
  accepted:  { type: http, listen: ["tcp://127.0.0.1:0"], ack: accepted }
sinks: { out: { type: console, format: raw } }
"#,
    );
    let mut instance = Instance::start(dir.path(), &text);
    let (delivered, accepted) = (url(&mut instance, "delivered"), url(&mut instance, "accepted"));
    let full = "x".repeat(200 << 10);
    assert_eq!(post(&accepted, "/", "", &full).status, 200);
    let late = post(&delivered, "/", "", "y");
    assert_eq!((late.status, late.field("retry-after")), (503, Some("1")), "{late:?}");
    assert!(late.body.contains("not delivered in time"), "{late:?}");
    assert_eq!(post(&accepted, "/", "", "z").status, 200);
    // It was said that it may still be delivered: it is.
    let mut out = instance.stdout();
    let reader = std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()));
    assert_ledger(&instance.wait_delivered("out", 3));
    drop(instance);
    reader.join().expect("it ends").expect("it reads");
}

#[test]
fn entries_and_bodies_have_the_limits_they_were_given() {
    let dir = dir();
    let text = config(&format!(
        r#"
sources:
  wide:   {{ type: http, listen: ["tcp://127.0.0.1:0"] }}
  narrow: {{ type: http, listen: ["tcp://127.0.0.1:0"], max_entry: 64, max_body: 1KiB, max_inflated: 2KiB }}
{OUT}"#
    ));
    let mut instance = Instance::start(dir.path(), &text);
    let (wide, narrow) = (url(&mut instance, "wide"), url(&mut instance, "narrow"));
    let (entry, body) = ("x".repeat(65), "line\n".repeat(300));
    let (json, gzip) = ("Content-Type: application/json\r\n", "Content-Encoding: gzip\r\n");
    let packed = gzipped(&"line\n".repeat(500));
    let object = format!("{{\"a\":\"{entry}\"}}");
    let ask = |to: &str| {
        [
            post(to, "/", "", &entry).status,
            post(to, "/", json, &object).status,
            post(to, "/", "", &body).status,
            post(to, "/", gzip, &packed).status,
        ]
    };
    assert_eq!(ask(&wide), [200, 200, 200, 200]);
    assert_eq!(ask(&narrow), [200, 400, 413, 413]);
    let stats = instance.wait_delivered("out", 803);
    assert_eq!((source(&stats, "wide", "cut"), source(&stats, "narrow", "cut")), (0, 1));
    assert_eq!(lines_of(&dir.path().join("out/narrow")), ["x".repeat(64)]);
    assert_ledger(&stats);
}

fn gzipped(text: &str) -> Vec<u8> {
    use std::io::Write;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(text.as_bytes()).expect("to memory");
    gzip.finish().expect("to memory")
}

#[test]
fn while_bodies_have_most_of_their_memory_others_are_told_to_wait() {
    let dir = dir();
    let text = config(&format!(
        r#"
sources:
  ample: {{ type: http, listen: ["tcp://127.0.0.1:0"], max_body: 1MiB }}
  tight: {{ type: http, listen: ["tcp://127.0.0.1:0"], max_body: 1MiB, body_memory: 2MiB }}
{OUT}"#
    ));
    let mut instance = Instance::start(dir.path(), &text);
    for (name, refused) in [("ample", false), ("tight", true)] {
        let to = url(&mut instance, name);
        let mut large = Client::connect(&to);
        large.send(format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", 1 << 20));
        large.send(vec![b'x'; 1_000_000]);
        instance.wait_stats("most of it came", |stats| source(stats, name, "request_bytes") >= 1_000_000);
        let answer = post(&to, "/", "", "small");
        assert_eq!(answer.status == 503, refused, "{answer:?}");
        assert_eq!(answer.field("retry-after").is_some(), refused);
        large.send(vec![b'x'; (1 << 20) - 1_000_000]);
        assert_eq!(large.answer().expect("an answer").status, 200, "what was admitted is taken");
        assert_eq!(large.ask("/", "", "small").status, 200, "and then there is room again");
    }
}

#[test]
fn bodies_are_read_by_as_many_threads_as_asked() {
    let dir = dir();
    let text = config(&format!(
        r#"
sources:
  one:   {{ type: http, listen: ["tcp://127.0.0.1:0"], decoders: 1 }}
  three: {{ type: http, listen: ["tcp://127.0.0.1:0"], decoders: 3 }}
{OUT}"#
    ));
    let mut instance = Instance::start(dir.path(), &text);
    let stats = instance.stats();
    let threads = stats["threads"].as_array().expect("threads");
    let of = |name: &str| {
        let begins = format!("decode-{name}-");
        threads
            .iter()
            .filter(|row| row["name"].as_str().is_some_and(|name| name.starts_with(&begins)))
            .count()
    };
    assert_eq!((of("one"), of("three")), (1, 3));
    for client in 0..6 {
        assert_eq!(post(&url(&mut instance, "three"), "/", "", client.to_string()).status, 200);
    }
    let stats = instance.wait_delivered("out", 6);
    let domains = stats["domains"].as_array().expect("domains").iter();
    assert_eq!(domains.filter(|row| row["source"] == "three" && row["next_ticket"] != 0).count(), 3);
}

#[test]
fn connections_beyond_a_limit_are_told_so_and_closed() {
    let dir = dir();
    let text = config(&format!(
        r#"
sources:
  wide:    {{ type: http, listen: ["tcp://127.0.0.1:0"] }}
  two:     {{ type: http, listen: ["tcp://127.0.0.1:0"], max_connections: 2 }}
  one-per: {{ type: http, listen: ["tcp://127.0.0.1:0"], max_connections_per_address: 1 }}
{OUT}"#
    ));
    let mut instance = Instance::start(dir.path(), &text);
    for (name, statuses) in
        [("wide", [200, 200, 200]), ("two", [200, 200, 503]), ("one-per", [200, 429, 429])]
    {
        let to = url(&mut instance, name);
        let mut open = Vec::new();
        for status in statuses {
            let mut client = Client::connect(&to);
            if status == 200 {
                client.post("/", "", "x");
            }
            let answer = client.answer().expect("an answer");
            assert_eq!(answer.status, status, "{name}");
            if status != 200 {
                client.assert_closed();
            }
            open.push(client);
        }
    }
    let stats = instance.stats();
    let refused = ["wide", "two", "one-per"].map(|name| source(&stats, name, "refused_connections"));
    assert_eq!(refused, [0, 1, 2]);
}

#[test]
fn slow_and_silent_clients_have_as_long_as_asked() {
    let dir = dir();
    let text = config(&format!(
        r#"
sources:
  patient: {{ type: http, listen: ["tcp://127.0.0.1:0"] }}
  head:    {{ type: http, listen: ["tcp://127.0.0.1:0"], header_timeout: 200ms }}
  rate:    {{ type: http, listen: ["tcp://127.0.0.1:0"], header_timeout: 200ms, min_body_rate: 1 }}
  idle:    {{ type: http, listen: ["tcp://127.0.0.1:0"], idle_timeout: 200ms }}
{OUT}"#
    ));
    let mut instance = Instance::start(dir.path(), &text);
    let mut all = ["patient", "head", "idle"].map(|name| Client::connect(&url(&mut instance, name)));
    let [patient, head, idle] = &mut all;
    head.send("POST / HT");
    let answer = head.answer().expect("an answer");
    assert_eq!((answer.status, answer.field("connection")), (408, Some("close")), "{answer:?}");
    head.assert_closed();
    // Three bytes are three seconds' worth of a body for one, and next to nothing for the other.
    let [mut kibibyte, mut byte] = ["head", "rate"].map(|name| Client::connect(&url(&mut instance, name)));
    for client in [&mut *patient, &mut byte, &mut kibibyte] {
        client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc");
    }
    assert_eq!(kibibyte.answer().expect("an answer").status, 408);
    assert!(byte.is_silent_for(std::time::Duration::from_millis(1)));
    assert_eq!(byte.answer().expect("an answer").status, 408);
    assert_eq!(idle.ask("/", "", "x").status, 200);
    idle.assert_closed();
    assert!(patient.is_silent_for(std::time::Duration::from_millis(1)));
    let stats = instance.stats();
    assert_eq!(row(&stats, "sources", "head")["requests"], serde_json::json!({ "408": 2 }));
}
