//! Rate limits from outside: how much comes through, what waits, what is dropped and counted, and what a reload changes.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test says with them what it relies on")]

mod support;

use ringmain::dispatcher::{ConfigBuilder, Dispatcher};
use ringmain::sinks::config::{BlackholeSinkConfig, SinkKind};
use ringmain::sources::rate::config::RateLimitConfig;
use ringmain::sources::submit::{LogEntry, Refusal};
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::net::{TcpStream, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};
use support::http::{Client, post};
use support::*;

fn config(general: &str, sources: &str) -> String {
    format!(
        "data_dir: state\nadmin: {{ listen: '127.0.0.1:0' }}\n{general}\nsources:\n{sources}\n\
         sinks: {{ out: {{ type: file, path: 'out/{{source}}.log' }} }}\n"
    )
}

fn dir() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    fs::create_dir(dir.path().join("logs")).expect("created");
    dir
}

fn write(dir: &Path, name: &str, lines: std::ops::Range<u64>) {
    let mut file = fs::OpenOptions::new().create(true).append(true).open(dir.join("logs").join(name));
    let file = file.as_mut().expect("opened");
    lines.for_each(|n| writeln!(file, "{}", line(name, n, 60)).expect("written"));
}

fn source<'a>(stats: &'a Value, name: &str) -> &'a Value {
    row(stats, "sources", name)
}

fn limited(stats: &Value, name: &str) -> u64 {
    number(&source(stats, name)["dropped"], "rate_limit")
}

/// Nothing more comes in a second that would be enough for much, if there were no limit.
const SLOW: &str = "rate_limit: { entries_per_second: 1, burst: 500 }";

#[test]
fn a_paced_source_reads_its_burst_and_waits_and_a_reload_lets_it_go_on() {
    let dir = dir();
    write(dir.path(), "a", 0..3000);
    let text = |limit: &str| config("", &format!("  in: {{ type: file, include: ['logs/*'], {limit} }}"));
    let began = Instant::now();
    let mut instance = Instance::start(dir.path(), &text(SLOW));
    let stats = instance.wait_stats("the burst came", |stats| number(source(stats, "in"), "received") >= 500);
    let most = 500 + began.elapsed().as_secs() + 1;
    assert!(number(source(&stats, "in"), "received") <= most, "{stats:#}");
    assert!(number(source(&stats, "in"), "paced") > 0);
    let (_, page) = instance.get("/metrics");
    let paced = page.lines().find(|line| line.starts_with("dispatcher_source_paced_total{source=\"in\"} "));
    assert!(paced.is_some_and(|line| !line.ends_with(" 0")), "{paced:?}");
    let other = "rate_limit: { entries_per_second: 1000000 }";
    fs::write(dir.path().join("config.yaml"), text(other)).expect("written");
    instance.signal("HUP");
    let stats = instance.wait_delivered("out", 3000);
    assert!(instance.log().contains("rate_limit.entries_per_second 1 -> 1000000"), "{}", instance.log());
    assert_eq!(limited(&stats, "in"), 0);
    assert_ledger(&stats);
    assert_eq!(instance.terminate(), 0);
    Recount::of(&dir.path().join("out")).assert_exact("a", 3000);
}

#[test]
fn what_comes_too_fast_is_dropped_and_counted_to_the_entry() {
    let dir = dir();
    let limit = "rate_limit: { entries_per_second: 1, burst: 700, mode: drop }";
    let mut instance = Instance::start(dir.path(), &config("", &format!("  in: {{ type: stdin, {limit} }}")));
    let began = Instant::now();
    let mut stdin = instance.stdin();
    (0..5000).for_each(|n| writeln!(stdin, "{}", line("a", n, 60)).expect("it reads"));
    let stats = instance
        .wait_stats("all came", |stats| number(source(stats, "in"), "received") == 5000 && at_rest(stats));
    let (lost, delivered) = (limited(&stats, "in"), number(row(&stats, "sinks", "out"), "delivered"));
    assert_ledger(&stats);
    assert_eq!(lost + delivered, 5000);
    assert!((700..=701 + began.elapsed().as_secs()).contains(&delivered), "{delivered}");
    let (_, page) = instance.get("/metrics");
    let series = format!("dispatcher_source_dropped_total{{source=\"in\",reason=\"rate_limit\"}} {lost}");
    assert!(page.contains(&series), "{series}");
    assert_eq!(instance.terminate(), 0);
    let came = Recount::of(&dir.path().join("out"));
    assert_eq!(came.lines(), delivered);
    assert_eq!(came.streams["a"][..700], (0..700).collect::<Vec<_>>());
}

#[test]
fn the_burst_is_as_large_as_it_was_written() {
    // Not written it is that of a second.
    for (limit, burst) in [("entries_per_second: 200", 200), ("entries_per_second: 200, burst: 900", 900)] {
        let dir = dir();
        write(dir.path(), "a", 0..5000);
        let limit = format!("rate_limit: {{ {limit}, mode: drop }}");
        let sources = format!("  in: {{ type: file, include: ['logs/*'], {limit} }}");
        let began = Instant::now();
        let mut instance = Instance::start(dir.path(), &config("", &sources));
        let stats = instance.wait_stats("all was read", |stats| {
            number(source(stats, "in"), "received") == 5000 && at_rest(stats)
        });
        let delivered = number(row(&stats, "sinks", "out"), "delivered");
        let most = burst + 200 * (1 + began.elapsed().as_secs());
        assert!((burst..=most).contains(&delivered), "{delivered} with {limit}");
    }
}

#[test]
fn the_limit_of_all_is_shared_and_switched_off_by_one_word() {
    for (enabled, all) in [("true", false), ("false", true)] {
        let dir = dir();
        write(dir.path(), "a", 0..2000);
        fs::create_dir(dir.path().join("more")).expect("created");
        fs::copy(dir.path().join("logs/a"), dir.path().join("more/b")).expect("copied");
        let general = format!(
            "dispatcher: {{ rate_limit: {{ enabled: {enabled}, entries_per_second: 1, burst: 1500, mode: drop }} }}"
        );
        let sources =
            "  one: { type: file, include: ['logs/*'] }\n  two: { type: file, include: ['more/*'] }";
        let began = Instant::now();
        let mut instance = Instance::start(dir.path(), &config(&general, sources));
        let stats = instance.wait_stats("all was read", |stats| {
            ["one", "two"].iter().all(|name| number(source(stats, name), "received") == 2000)
                && at_rest(stats)
        });
        let delivered = number(row(&stats, "sinks", "out"), "delivered");
        let lost = limited(&stats, "one") + limited(&stats, "two");
        assert_eq!(lost + delivered, 4000);
        let most = 1501 + began.elapsed().as_secs();
        assert!(if all { delivered == 4000 } else { (1500..=most).contains(&delivered) }, "{delivered}");
        assert_ledger(&stats);
    }
}

#[test]
fn each_label_value_has_its_own_and_those_beyond_max_keys_share_one() {
    for (max_keys, most) in [(10, 4 * 100), (2, 3 * 100)] {
        let dir = dir();
        let limit = format!(
            "rate_limit: {{ per: labels.tenant, entries_per_second: 1, burst: 100, mode: drop, max_keys: {max_keys} }}"
        );
        let source_of = |n: usize| {
            format!("  s{n}: {{ type: file, include: ['logs/{n}'], labels: {{ tenant: t{n} }} }}\n")
        };
        let sources: String = (0..4).map(source_of).collect();
        (0..4).for_each(|n| write(dir.path(), &n.to_string(), 0..1000));
        let began = Instant::now();
        let general = format!("dispatcher: {{ {limit} }}");
        let mut instance = Instance::start(dir.path(), &config(&general, &sources));
        let stats = instance.wait_stats("all was read", |stats| {
            (0..4).all(|n| number(source(stats, &format!("s{n}")), "received") == 1000) && at_rest(stats)
        });
        let delivered = number(row(&stats, "sinks", "out"), "delivered");
        let slack = 4 * (1 + began.elapsed().as_secs());
        assert!((most..=most + slack).contains(&delivered), "{delivered} with {max_keys} keys");
        let lost: u64 = (0..4).map(|n| limited(&stats, &format!("s{n}"))).sum();
        assert_eq!(lost + delivered, 4000);
        assert_eq!(number(&stats, "rate_limit_keys"), max_keys.min(4));
        let (_, page) = instance.get("/metrics");
        let series = format!("dispatcher_rate_limit_keys {}", max_keys.min(4));
        assert!(page.lines().any(|line| line == series), "{series}");
        assert_ledger(&stats);
    }
}

#[test]
fn a_source_says_how_many_values_have_a_limit_of_their_own() {
    let dir = dir();
    let limit = "rate_limit: { per: labels.tenant, entries_per_second: 1, burst: 100, max_keys: 2 }";
    let source_of = |name: &str, limit: &str| {
        let labels = "header_labels: { tenant: X-Tenant }";
        format!("  {name}: {{ type: http, listen: ['tcp://127.0.0.1:0'], {labels}, {limit} }}\n")
    };
    let sources = source_of("limited", limit) + &source_of("free", "");
    let mut instance = Instance::start(dir.path(), &config("", &sources));
    for (sent, tenants) in [(1, 1), (2, 2), (3, 2)] {
        for name in ["limited", "free"] {
            let address = instance.address(&format!("source {name}"), "http://");
            let header = format!("X-Tenant: t{sent}\r\n");
            assert_eq!(post(&address, "/", &header, "one\n").status, 200);
        }
        let (_, page) = instance.get("/metrics");
        for (name, keys) in [("limited", tenants), ("free", 0)] {
            let series = format!("dispatcher_source_rate_limit_keys{{source=\"{name}\"}} {keys}");
            assert!(page.lines().any(|line| line == series), "{series}");
        }
    }
}

#[test]
fn a_request_that_comes_too_soon_is_told_when_to_come_again() {
    let dir = dir();
    let limit = "rate_limit: { entries_per_second: 1, burst: 100 }";
    let text = config("", &format!("  in: {{ type: http, listen: ['tcp://127.0.0.1:0'], {limit} }}"));
    let mut instance = Instance::start(dir.path(), &text);
    let mut client = Client::connect(&instance.address("source in", "http://"));
    let body = |from: u64, to: u64| (from..to).map(|n| line("a", n, 60) + "\n").collect::<String>();
    client.post("/", "", body(0, 100));
    assert_eq!(client.answer().expect("an answer").status, 200);
    let mut sent = 100;
    let answer = loop {
        client.post("/", "", body(sent, sent + 1));
        let answer = client.answer().expect("an answer");
        if answer.status != 200 {
            break answer;
        }
        sent += 1;
    };
    assert_eq!((answer.status, answer.field("retry-after")), (429, Some("1")), "{answer:?}");
    let stats = instance.wait_delivered("out", sent);
    assert_eq!(number(&source(&stats, "in")["requests"], "429"), 1);
    assert_ledger(&stats);
    // It says the truth: then there is room.
    let deadline = Instant::now() + PATIENCE;
    loop {
        client.post("/", "", body(sent, sent + 1));
        if client.answer().expect("an answer").status == 200 {
            break;
        }
        assert!(Instant::now() < deadline, "never again");
        std::thread::sleep(Duration::from_millis(50));
    }
    instance.wait_delivered("out", sent + 1);
}

#[test]
fn connections_wait_and_datagrams_are_dropped_and_counted() {
    let dir = dir();
    let limit = "rate_limit: { entries_per_second: 1, burst: 300 }";
    let listen = |scheme: &str| format!("type: socket, listen: ['{scheme}://127.0.0.1:0'], framing: newline");
    let sources = format!(
        "  tcp: {{ {}, {limit} }}\n  udp: {{ {}, {limit}, receive_buffer: 4MiB }}",
        listen("tcp"),
        listen("udp")
    );
    let mut instance = Instance::start(dir.path(), &config("", &sources));
    let began = Instant::now();
    let mut connection = TcpStream::connect(instance.address("source tcp", "tcp://")).expect("connected");
    let text: String = (0..1000).map(|n| line("a", n, 60) + "\n").collect();
    connection.write_all(text.as_bytes()).expect("the system takes it");
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let to = instance.address("source udp", "udp://");
    for n in 0..1000 {
        socket.send_to(line("b", n, 60).as_bytes(), &to).expect("sent");
    }
    let stats = instance.wait_stats("both have their burst", |stats| {
        let (tcp, udp) = (source(stats, "tcp"), source(stats, "udp"));
        number(tcp, "received") >= 300
            && number(udp, "received") + number(udp, "kernel_drops") == 1000
            && at_rest(stats)
    });
    let most = 301 + began.elapsed().as_secs();
    assert!((300..=most).contains(&number(source(&stats, "tcp"), "received")), "{stats:#}");
    assert_eq!(limited(&stats, "tcp"), 0, "it waits");
    let passed = number(source(&stats, "udp"), "received") - limited(&stats, "udp");
    assert!((300..=most).contains(&passed), "{passed} datagrams passed");
    assert_ledger(&stats);
}

#[test]
fn a_program_is_held_back_or_given_its_entry_back() {
    let dir = dir();
    let limit: RateLimitConfig =
        serde_yaml::from_str("{ entries_per_second: 50, burst: 20 }").expect("a limit");
    let builder = ConfigBuilder::new().data_dir(dir.path().join("state"));
    let config = builder.change(|general| general.dispatcher.rate_limit = Some(limit)).build().unwrap();
    let mut dispatcher = Dispatcher::new(config);
    dispatcher.add_sink("hole", SinkKind::Blackhole(BlackholeSinkConfig {}));
    dispatcher.start().unwrap();
    let began = Instant::now();
    let mut taken = 0;
    let refused = loop {
        match dispatcher.try_submit(LogEntry::new(format!("{taken}"))) {
            Ok(()) => taken += 1,
            Err(refused) => break refused,
        }
    };
    assert_eq!((refused.why, refused.entry), (Refusal::TooFast, LogEntry::new(format!("{taken}"))));
    for n in 0..30 {
        dispatcher.submit(LogEntry::new(format!("{n}"))).unwrap();
    }
    // What is in the open block was not asked for yet.
    let least = Duration::from_secs_f64((taken + 30 - 20 - 20) as f64 / 50.0);
    assert!(began.elapsed() >= least, "{:?} for {taken} and 30", began.elapsed());
    let ended = dispatcher.stop(Duration::from_secs(60)).unwrap();
    assert_eq!((ended.received, ended.delivered, ended.dropped), (taken + 30, taken + 30, 0));
}
