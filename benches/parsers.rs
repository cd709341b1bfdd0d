//! What does each parser cost? The bound is one pass over the same bytes for newlines, and one copy of them; for access
//! logs also what a regular expression with captures takes.
//!
//! `cargo bench --bench parsers [-- PART_OF_A_NAME]`

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test says with them what it relies on")]

// Its measurements for criterion are the other benches'.
#[allow(dead_code)]
mod cpu;

use cpu::Work;
use memchr::memchr_iter;
use ringmain::block::{Block, ORDINARY};
use ringmain::entry::Entry;
use ringmain::labels::{Labels, SourceId, Stream};
use ringmain::steps::Step;
use ringmain::steps::constants::Constants;
use ringmain::steps::parse::input::Input;
use ringmain::steps::parse::json::ParseJson;
use ringmain::steps::parse::logfmt::Logfmt;
use ringmain::steps::parse::nginx::Nginx;
use ringmain::steps::parse::nginx_error::NginxError;
use ringmain::steps::parse::regex::{Captures, compile};
use ringmain::steps::parse::rows::Parse;
use ringmain::steps::parse::syslog::Syslog;
use ringmain::steps::timestamp::Timestamp;
use ringmain::steps::timestamp::config::TimestampConfig;
use std::hint::black_box;
use std::sync::Arc;

/// 2026-11-23T10:00:00Z.
const NOW: i64 = 1_795_428_000_000_000_000;
/// What nginx's own format is as an expression.
const COMBINED: &str = r#"^(?<remote_addr>\S+) \S+ (?<remote_user>\S+) \[(?<time_local>[^\]]+)\] "(?<method>\S+) (?<path>\S+) (?<protocol>[^"]+)" (?<status>\d+) (?<body_bytes_sent>\d+) "(?<http_referer>[^"]*)" "(?<http_user_agent>[^"]*)""#;

fn logfmt(n: usize) -> String {
    format!(
        r#"time="2026-11-23T10:{:02}:{:02}.123456Z" level=info msg="request {n} finished by the upstream" service=checkout host=web-{:02}.eu-west method=GET path=/api/v1/orders/{} status={} duration_ms={}.25 cached=false trace_id={:016x}"#,
        n / 60 % 60,
        n % 60,
        n % 32,
        n * 7919 % 100_000,
        200 + n % 5 * 75,
        n * 37 % 1000,
        (n as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15),
    )
}

fn access(n: usize) -> String {
    format!(
        r#"192.0.2.{} - - [23/Nov/2026:10:{:02}:{:02} +0000] "GET /api/v1/orders/{}?page={} HTTP/1.1" {} {} "https://www.example.com/shop/items" "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36""#,
        n % 250,
        n / 60 % 60,
        n % 60,
        n * 7919 % 100_000,
        n % 9,
        200 + n % 4 * 100,
        n * 37 % 50_000,
    )
}

fn error(n: usize) -> String {
    format!(
        r#"2026/11/23 10:{:02}:{:02} [error] 1234#1234: *{n} open() "/usr/share/nginx/html/favicon.ico" failed (2: No such file or directory), client: 192.0.2.{}, server: www.example.com, request: "GET /favicon.ico HTTP/1.1", host: "www.example.com""#,
        n / 60 % 60,
        n % 60,
        n % 250,
    )
}

fn syslog(n: usize) -> String {
    format!(
        "<165>1 2026-11-23T09:{:02}:{:02}.{:06}Z web-{}.example.com nginx {} ID47 [request@32473 method=\"GET\" status=\"200\"] \
         GET /api/v1/items/{n} from 192.0.2.{} took {} ms",
        n % 60,
        n * 7 % 60,
        n * 7919 % 1_000_000,
        n % 9,
        1000 + n * 31 % 30_000,
        n % 255,
        n % 97,
    )
}

fn json(n: usize, time: &str) -> String {
    format!(r#"{{"t":{time},"level":"info","msg":"request number {n} done"}}"#)
}

fn filled(lines: &[String], constants: Constants) -> Block {
    let mut block = Block::new(ORDINARY);
    let stream = Stream::new(SourceId(0), "s".into(), "file", "/var/log/a.log", Labels::default());
    block.begin_run(&Arc::new(stream));
    for line in lines {
        let offset = block.append(line.as_bytes()).expect("room");
        block.push(Entry::at(offset, line.len() as u32));
        block.append(b"\n").expect("room");
    }
    block.stamp(NOW);
    block.set_constants(&constants.finish());
    block
}

/// As many lines as an ordinary block holds.
fn lines_of(line: impl Fn(usize) -> String) -> Vec<String> {
    let mut room = ORDINARY;
    let fits = |line: &String| {
        room = room.saturating_sub(line.len() + 1);
        room > 0
    };
    (0..).map(line).take_while(fits).collect()
}

type Make = Box<dyn Fn(&mut Constants) -> Vec<Box<dyn Step>>>;

/// Measures the steps that each of `makes` gives over `lines`, against the bound.
fn measure(name: &str, lines: &[String], makes: Vec<(&str, Make)>) {
    let text = lines.join("\n");
    let work = Work { lines: lines.len() as u64, bytes: text.len() as u64 };
    let mut copy = Vec::with_capacity(text.len());
    let mut bound = || {
        copy.clear();
        copy.extend_from_slice(black_box(text.as_bytes()));
        memchr_iter(b'\n', black_box(&copy)).count() as u64
    };
    let mut runs: Vec<(String, Box<dyn FnMut() -> u64>)> = Vec::new();
    for (kind, make) in makes {
        let mut constants = Constants::default();
        let steps = make(&mut constants);
        let mut block = filled(lines, constants);
        let all = 0..lines.len();
        runs.push((
            format!("{name}/{kind}, {} bytes", work.bytes / work.lines),
            Box::new(move || {
                block.reset_side();
                let errors: usize = steps.iter().map(|step| step.run_alone(&mut block, all.clone())).sum();
                assert_eq!(errors, 0);
                block.entries().iter().map(|entry| u64::from(entry.fields_n)).sum()
            }),
        ));
    }
    let mut all: Vec<(&str, &mut dyn FnMut() -> u64)> = vec![("bound: newlines and a copy", &mut bound)];
    all.extend(runs.iter_mut().map(|(name, run)| (name.as_str(), &mut **run as &mut dyn FnMut() -> u64)));
    cpu::compare(work, &mut all);
}

/// `parse` alone.
fn parse<S: Step + 'static>(make: impl Fn(&mut Constants) -> S + 'static) -> Make {
    Box::new(move |constants| vec![Box::new(make(constants))])
}

fn main() {
    let wanted = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    let zone = jiff::tz::TimeZone::UTC;
    let message = || Input::Message;
    if "logfmt".contains(&wanted) {
        let make = parse(move |constants| Parse::new(Logfmt::new(constants).expect("room"), message()));
        measure("logfmt", &lines_of(logfmt), vec![("by hand", make)]);
    }
    if "nginx".contains(&wanted) {
        let hand = parse(move |constants| Parse::new(Nginx::new(constants).expect("room"), message()));
        let regex = parse(move |constants| {
            Parse::new(Captures::new(compile(COMBINED).expect("valid"), constants).expect("room"), message())
        });
        measure("nginx", &lines_of(access), vec![("by hand", hand), ("regex captures", regex)]);
    }
    if "nginx_error".contains(&wanted) {
        let zone = zone.clone();
        let make = parse(move |constants| {
            Parse::new(NginxError::new(zone.clone(), constants).expect("room"), message())
        });
        measure("nginx_error", &lines_of(error), vec![("by hand", make)]);
    }
    if "regex".contains(&wanted) {
        let make = parse(move |constants| {
            let regex = compile(r#"level=(?<level>\w+) .*status=(?<status>\d+)"#).expect("valid");
            Parse::new(Captures::new(regex, constants).expect("room"), message())
        });
        measure("regex", &lines_of(logfmt), vec![("two groups", make)]);
    }
    if "syslog".contains(&wanted) {
        let zone = zone.clone();
        let make = parse(move |constants| {
            Parse::new(Syslog::new(zone.clone(), constants).expect("room"), message())
        });
        measure("syslog", &lines_of(syslog), vec![("5424 to fields", make)]);
    }
    if "timestamp".contains(&wanted) {
        for (format, time) in [
            ("rfc3339", "\"2026-11-23T10:00:00.123Z\""),
            ("iso8601", "\"2026-11-23 10:00:00,123\""),
            ("unix_ms", "1795428000123"),
            ("clf", "\"23/Nov/2026:10:00:00 +0000\""),
            ("rfc2822", "\"Mon, 23 Nov 2026 10:00:00 +0000\""),
            ("%Y-%m-%d %H:%M:%S%.f", "\"2026-11-23 10:00:00.123\""),
        ] {
            let config: TimestampConfig =
                serde_yaml::from_str(&format!("{{ field: t, formats: ['{format}'], timezone: utc }}"))
                    .expect("valid");
            let json_alone: Make = Box::new(|_| vec![Box::new(ParseJson::default())]);
            let both: Make = Box::new(move |constants| {
                vec![
                    Box::new(ParseJson::default()),
                    Box::new(Timestamp::new(&config, constants).expect("room")),
                ]
            });
            let name = format!("and timestamp by {format}");
            measure(
                "timestamp",
                &lines_of(|n| json(n, time)),
                vec![("json alone", json_alone), (&name, both)],
            );
        }
    }
}
