//! What becomes of batches that a destination does not take: tried again, taken apart, sent elsewhere, given up.
//!
//! The destination is a server of ours that answers as it is told; everything is recounted from what it took.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test says with them what it relies on")]

mod support;

#[path = "support/destination.rs"]
mod destination;

use destination::{Act, Destination, Request, says, status};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};
use support::*;

/// Everything waits a little, and always the same; a batch is a thousand entries.
const QUICK: &str = "batch_size: 1000, batch_timeout: 1s, flow_control: { enabled: false }, retry_backoff: 10ms, \
    retry_backoff_max: 20ms, retry_jitter: none";

/// A config that sends the standard input to `sinks`.
fn config(dispatcher: &str, sinks: &str) -> String {
    format!(
        "data_dir: state\nadmin: {{ listen: '127.0.0.1:0' }}\ndispatcher: {{ {dispatcher} }}\n\
         sources: {{ in: {{ type: stdin }} }}\nsinks:\n{sinks}\n"
    )
}

/// A sink `out` that sends lines to `there`, with further keys.
fn out(there: &Destination, keys: &str) -> String {
    format!("  out: {{ type: http, url: '{}', body: lines{keys} }}", there.url())
}

fn dir() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

fn lines(from: u64, to: u64) -> String {
    (from..to).map(|n| line("a", n, 60) + "\n").collect()
}

fn start(dir: &Path, config: &str, input: &str) -> Instance {
    let mut instance = Instance::start(dir, config);
    let mut stdin = instance.stdin();
    stdin.write_all(input.as_bytes()).expect("it reads");
    instance
}

/// What was taken: the lines of requests that `took`.
fn recount(requests: &[Request], took: impl Fn(&Request) -> bool) -> Recount {
    let mut recount = Recount::default();
    let bodies = requests.iter().filter(|request| took(request));
    bodies.for_each(|request| recount.add(std::str::from_utf8(&request.body).expect("text")));
    recount
}

fn has(request: &Request, text: &str) -> bool {
    String::from_utf8_lossy(&request.body).contains(text)
}

fn sink<'a>(stats: &'a Value, name: &str) -> &'a Value {
    row(stats, "sinks", name)
}

fn rejected(stats: &Value) -> u64 {
    number(sink(stats, "out"), "dead_lettered")
}

fn changes(stats: &Value) -> BTreeMap<String, u64> {
    serde_json::from_value(sink(stats, "out")["breaker"]["changes"].clone()).expect("numbers by word")
}

/// How a component is, and why.
fn health(instance: &mut Instance, name: &str) -> (String, String) {
    let health: Value = serde_json::from_str(&instance.get("/health").1).expect("JSON");
    let components = health["components"].as_array().expect("components");
    let one = components.iter().find(|one| one["name"] == name).expect("the component");
    (one["status"].as_str().expect("a word").into(), one["reason"].as_str().unwrap_or("").into())
}

fn wait_health(instance: &mut Instance, name: &str, words: &str) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (_, reason) = health(instance, name);
        if reason.contains(words) {
            return reason;
        }
        assert!(Instant::now() < deadline, "{name} never is {words:?}: {reason:?}\n{}", instance.log());
    }
}

fn metric(instance: &mut Instance, series: &str) -> f64 {
    let page = instance.get("/metrics").1;
    let line = page.lines().find(|line| line.starts_with(series)).unwrap_or_else(|| panic!("no {series}"));
    line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a number")
}

#[test]
fn one_bad_entry_in_a_thousand_is_found_by_few_requests_and_the_others_arrive() {
    for (answer, bad) in [(400, 617), (413, 0), (422, 999)] {
        let (dir, there) = (dir(), Destination::start());
        let marked = format!("n={bad} ");
        let judged = marked.clone();
        there.judge(move |request| status(if has(request, &judged) { answer } else { 204 }));
        let mut instance = start(dir.path(), &config(QUICK, &out(&there, "")), &lines(0, 1000));
        let stats = instance.wait_stats("settled", |stats| {
            number(sink(stats, "out"), "delivered") + rejected(stats) == 1000 && at_rest(stats)
        });
        assert_ledger(&stats);
        assert_eq!((number(sink(&stats, "out"), "delivered"), rejected(&stats)), (999, 1), "{answer}");
        let requests = there.requests();
        // The standard input may have been cut into more than one batch; each that is well takes one.
        let batches = number(sink(&stats, "out"), "batches") as usize;
        assert!(requests.len() <= 2 * 10 + batches, "{} requests, {batches} batches", requests.len());
        let mut came = recount(&requests, |request| !has(request, &marked));
        let numbers = came.streams.get_mut("a").expect("lines");
        let expected: Vec<u64> = (0..1000).filter(|n| *n != bad).collect();
        assert_eq!(*numbers, expected, "in order, each once");
        let bisected = number(sink(&stats, "out"), "bisect_requests");
        assert_eq!(bisected, (requests.len() - batches) as u64);
        assert_eq!(
            metric(&mut instance, "dispatcher_sink_bisect_requests_total{sink=\"out\"}"),
            bisected as f64
        );
        assert_eq!(changes(&stats)["open"], 0, "data opens no breaker");
        assert!(instance.log().contains(&format!("it answers {answer}")), "{}", instance.log());
    }
}

#[test]
fn entries_that_loki_names_need_no_search() {
    let (dir, there) = (dir(), Destination::start());
    there.judge(|_| {
        says(
            400,
            "Max entry size '300' bytes exceeded for stream '{source=\"in\"}' while adding an entry with length '400' bytes",
        )
    });
    let sinks = format!("  out: {{ type: loki, url: '{}' }}", there.url());
    let input = lines(0, 499) + &line("a", 499, 400) + "\n" + &lines(500, 1000);
    let mut instance = start(dir.path(), &config(QUICK, &sinks), &input);
    let stats = instance.wait_stats("settled", |stats| rejected(stats) == 1 && at_rest(stats));
    assert_ledger(&stats);
    assert_eq!(number(sink(&stats, "out"), "delivered"), 999);
    assert_eq!(there.requests().len() as u64, number(sink(&stats, "out"), "batches"));
}

#[test]
fn who_is_not_let_in_waits_with_an_alarm_and_loses_nothing_before_the_grace_is_over() {
    for denied in [401, 403, 404] {
        let (dir, there) = (dir(), Destination::start());
        there.always(status(denied));
        let mut instance = start(dir.path(), &config(QUICK, &out(&there, "")), &lines(0, 1000));
        there.wait("several attempts", |requests| requests.len() >= 5);
        let reason = wait_health(&mut instance, "sink out", "not let in");
        assert!(reason.contains(&denied.to_string()), "{reason}");
        assert!(metric(&mut instance, "dispatcher_sink_denied_since_seconds{sink=\"out\"}") > 1e9);
        assert!(instance.log().contains("is not let in"));
        there.always(status(204));
        let stats = instance.wait_delivered("out", 1000);
        assert_ledger(&stats);
        assert_eq!((rejected(&stats), number(sink(&stats, "out"), "denied_since")), (0, 0));
        recount(&there.requests(), |_| true);
    }
    // After the grace, of the dispatcher or of the sink, they are refused ones.
    for (general, own) in [(", auth_grace: 50ms", ""), ("", ", retry: { auth_grace: 50ms }")] {
        let (dir, there) = (dir(), Destination::start());
        there.always(status(403));
        let config = config(&format!("{QUICK}{general}"), &out(&there, own));
        let mut instance = start(dir.path(), &config, &lines(0, 10));
        let stats = instance.wait_stats("given up", |stats| rejected(stats) == 10 && at_rest(stats));
        assert_ledger(&stats);
        assert!(instance.log().contains("refused (denied)"), "{}", instance.log());
    }
}

#[test]
fn a_dead_sink_does_not_hold_up_the_one_beside_it() {
    let dead = [
        // Takes the request and says nothing.
        Act::Silence,
        // One byte at a time.
        Act::DripHead,
    ];
    for act in dead {
        let (dir, there) = (dir(), Destination::start());
        there.always(act);
        let sinks = out(&there, ", timeout: 1h") + "\n  live: { type: file, path: out/all.log }";
        let mut instance = start(dir.path(), &config(QUICK, &sinks), &lines(0, 20_000));
        let stats = instance
            .wait_stats("the live one has all", |stats| number(sink(stats, "live"), "delivered") == 20_000);
        assert_eq!(number(sink(&stats, "out"), "delivered"), 0);
        Recount::of(&dir.path().join("out")).assert_exact("a", 20_000);
    }
}

#[test]
fn a_request_ends_at_its_deadline_however_the_destination_drags_it_on() {
    for act in [Act::Silence, Act::DripHead] {
        let (dir, there) = (dir(), Destination::start());
        there.script([act.clone(), act]);
        let mut instance = start(
            dir.path(),
            &config(QUICK, &out(&there, ", timeout: 300ms, concurrency: 1")),
            &lines(0, 100),
        );
        let stats = instance.wait_delivered("out", 100);
        assert_ledger(&stats);
        let errors = number(sink(&stats, "out"), "errors");
        assert_eq!((errors, number(sink(&stats, "out"), "retries")), (2, 2));
        assert!(instance.log().contains("no whole answer within `timeout`"), "{}", instance.log());
        let threads = stats["threads"].as_array().expect("threads").len();
        assert!(threads < 12, "{threads} threads");
    }
    // Connected and never met: the other deadline.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let dir = dir();
    let sinks = format!(
        "  out: {{ type: http, url: 'https://{}', connect_timeout: 200ms, tls: {{ ca: ca.pem }} }}\n  live: {{ type: blackhole }}",
        silent.local_addr().expect("bound")
    );
    std::fs::write(dir.path().join("ca.pem"), ca()).expect("written");
    let mut instance = start(dir.path(), &config(QUICK, &sinks), &lines(0, 100));
    instance.wait_log("`connect_timeout`");
    instance.wait_stats("the live one", |stats| number(sink(stats, "live"), "delivered") == 100);
}

/// A certificate that nobody shows.
fn ca() -> String {
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().expect("a key");
    params.self_signed(&key).expect("signed").pem()
}

#[test]
fn a_flapping_destination_costs_no_entry_and_no_more_duplicates_than_lost_answers() {
    let (dir, there) = (dir(), Destination::start());
    // Seeded: the same each time.
    let mut random = fastrand::Rng::with_seed(27);
    let acts: Vec<Act> = (0..60)
        .map(|_| match random.u8(..6) {
            0 => Act::ResetBefore,
            1 => Act::ResetAfter,
            2 => Act::Half,
            3 => status(503),
            _ => status(204),
        })
        .collect();
    let lost_answers = acts.iter().filter(|act| matches!(act, Act::ResetAfter | Act::Half)).count() as u64;
    there.script(acts);
    let dispatcher =
        format!("{QUICK}, circuit_breaker: {{ failure_threshold: 2, success_threshold: 1, timeout: 20ms }}");
    let mut instance = start(
        dir.path(),
        &config(&dispatcher, &out(&there, ", batch: { max_entries: 100 }")),
        &lines(0, 5000),
    );
    let stats = instance.wait_delivered("out", 5000);
    assert_ledger(&stats);
    assert_eq!((number(sink(&stats, "out"), "delivered"), rejected(&stats)), (5000, 0));
    // What was answered with 503 was not taken; the destination notes it all the same.
    let (lost, twice) = recount(&there.requests(), |_| true).lost_and_twice("a", 5000);
    let not_taken = number(sink(&stats, "out"), "errors");
    assert_eq!(lost, 0);
    assert!(twice <= not_taken * 100, "{twice} twice, {lost_answers} answers lost");
    assert_eq!(sink(&stats, "out")["breaker"]["state"], "closed");
    let changes = changes(&stats);
    assert!(changes["open"] > 0 && changes["open"] == changes["half_open"], "{changes:?}");
}

#[test]
fn a_breaker_leaves_an_unwell_destination_alone_but_for_one_probe_at_a_time() {
    let (dir, there) = (dir(), Destination::start());
    let well = Arc::new(AtomicBool::new(false));
    let is_well = Arc::clone(&well);
    there.judge(move |_| status(if is_well.load(SeqCst) { 204 } else { 503 }));
    let dispatcher =
        format!("{QUICK}, circuit_breaker: {{ failure_threshold: 3, success_threshold: 2, timeout: 100ms }}");
    let sinks = out(&there, ", concurrency: 4, ordering: none, batch: { max_entries: 100 }");
    let mut instance = start(dir.path(), &config(&dispatcher, &sinks), &lines(0, 2000));
    instance.wait_stats("several probes", |stats| changes(stats)["open"] >= 5);
    wait_health(&mut instance, "sink out", "its breaker is");
    assert!(metric(&mut instance, "dispatcher_sink_breaker_open{sink=\"out\"}") > 0.0);
    well.store(true, SeqCst);
    let stats = instance.wait_delivered("out", 2000);
    assert_ledger(&stats);
    let changes = changes(&stats);
    let failed = number(sink(&stats, "out"), "errors");
    // Three failures open it; the other three senders may have been on their way. After that each opening is one probe.
    let probes = changes["open"] - 1;
    assert!((3..=6).contains(&(failed - probes)), "{failed} failed, {changes:?}");
    assert_eq!(changes["half_open"], changes["open"], "{changes:?}");
    assert_eq!((changes["closed"], &sink(&stats, "out")["breaker"]["state"]), (1, &"closed".into()));
    assert_eq!(health(&mut instance, "sink out"), ("ok".into(), String::new()));
    assert_eq!(rejected(&stats), 0, "an open breaker gives nothing up");
    assert_eq!(
        metric(&mut instance, "dispatcher_sink_breaker_transitions_total{sink=\"out\",to=\"closed\"}"),
        1.0
    );
}

#[test]
fn a_breaker_that_is_off_never_opens_and_a_sink_s_own_threshold_counts() {
    for (general, own, opens) in [
        ("{ enabled: false }", "", false),
        ("{ failure_threshold: 1000 }", "", false),
        ("{ failure_threshold: 1000 }", ", circuit_breaker: { failure_threshold: 2, timeout: 50ms }", true),
        ("{ failure_threshold: 2, timeout: 50ms }", "", true),
        ("{ failure_threshold: 2, timeout: 50ms }", ", circuit_breaker: { enabled: false }", false),
    ] {
        let (dir, there) = (dir(), Destination::start());
        there.script(vec![status(503); 8]);
        let dispatcher = format!("{QUICK}, circuit_breaker: {general}");
        let mut instance = start(dir.path(), &config(&dispatcher, &out(&there, own)), &lines(0, 10));
        let stats = instance.wait_delivered("out", 10);
        assert_eq!(changes(&stats)["open"] > 0, opens, "{general} {own}");
    }
}

#[test]
fn a_breaker_is_open_for_its_timeout_and_closes_after_as_many_successes_as_it_was_told() {
    for (general, own, state) in [
        ("{ failure_threshold: 2, timeout: 20ms }", "", "half_open"),
        ("{ failure_threshold: 2, timeout: 20ms, success_threshold: 1 }", "", "closed"),
        ("{ failure_threshold: 2 }", ", circuit_breaker: { timeout: 20ms, success_threshold: 1 }", "closed"),
    ] {
        let (dir, there) = (dir(), Destination::start());
        // One batch, so that there is one success.
        there.script(vec![status(503); 8]);
        let dispatcher = format!("{QUICK}, circuit_breaker: {general}");
        let mut instance = start(dir.path(), &config(&dispatcher, &out(&there, own)), &lines(0, 1));
        // Each of the last seven attempts was a probe, and by default the first of them would not have come by now.
        there.wait("it is probed until it is well", |requests| requests.len() == 9);
        let stats = instance.wait_delivered("out", 1);
        assert_eq!(changes(&stats)["half_open"], 7, "{general} {own}");
        assert_eq!(sink(&stats, "out")["breaker"]["state"], state, "{general} {own}");
    }
}

#[test]
fn as_many_probes_are_out_at_once_as_the_half_open_max_calls_say() {
    let both = "timeout: 20ms, half_open_max_calls: 3";
    for (general, own) in [
        (format!("{{ failure_threshold: 2, {both} }}"), String::new()),
        ("{ failure_threshold: 2 }".into(), format!(", circuit_breaker: {{ {both} }}")),
    ] {
        let (dir, there) = (dir(), Destination::start());
        there.script(vec![status(503); 2]);
        there.always(Act::Silence);
        let dispatcher = format!("{QUICK}, circuit_breaker: {general}");
        let keys = format!("{own}, concurrency: 5, ordering: none, batch: {{ max_entries: 1 }}");
        let mut instance = Instance::start(dir.path(), &config(&dispatcher, &out(&there, &keys)));
        let mut stdin = instance.stdin();
        stdin.write_all(lines(0, 1).as_bytes()).expect("it reads");
        instance.wait_stats("open", |stats| changes(stats)["open"] == 1);
        stdin.write_all(lines(1, 5).as_bytes()).expect("it reads");
        // Two that failed, and the probes, none of which is answered.
        there.wait("three probes are out", |requests| requests.len() >= 5);
        let batches_out = |stats: &Value| number(sink(stats, "out"), "batches_out");
        instance.wait_stats("all senders would go", |stats| batches_out(stats) == 5);
        assert_eq!(there.requests().len(), 5, "{general} {own}");
    }
}

#[test]
fn another_sink_takes_over_while_one_is_out_of_reach_and_every_entry_is_counted_once() {
    let (dir, there) = (dir(), Destination::start());
    there.always(status(503));
    let breaker = "circuit_breaker: { failure_threshold: 2, success_threshold: 1, timeout: 100ms }";
    let keys = format!(", {breaker}, fallback: spare, fallback_after: 50ms");
    let sinks =
        out(&there, &keys) + "\n  spare: { type: file, path: out/all.log, when: 'message == \"never\"' }";
    let mut instance = Instance::start(dir.path(), &config(QUICK, &sinks));
    let mut stdin = instance.stdin();
    stdin.write_all(lines(0, 3000).as_bytes()).expect("it reads");
    let stats = instance.wait_delivered("out", 3000);
    assert_ledger(&stats);
    assert_eq!(number(sink(&stats, "out"), "fallback"), 3000);
    assert_eq!(number(sink(&stats, "spare"), "copies"), 0, "they are copies of the other sink");
    Recount::of(&dir.path().join("out")).assert_exact("a", 3000);
    let before = there.requests().len();
    there.always(status(204));
    // What is probed with is new.
    let mut sent = 3000;
    let deadline = Instant::now() + PATIENCE;
    while there.requests().len() == before {
        assert!(Instant::now() < deadline, "it is never tried again\n{}", instance.log());
        stdin.write_all(lines(sent, sent + 100).as_bytes()).expect("it reads");
        sent += 100;
        instance.wait_delivered("out", sent);
    }
    stdin.write_all(lines(sent, sent + 1000).as_bytes()).expect("it reads");
    let stats = instance.wait_delivered("out", sent + 1000);
    assert_ledger(&stats);
    let elsewhere = number(sink(&stats, "out"), "fallback");
    let spare = Recount::of(&dir.path().join("out"));
    assert_eq!(spare.lines(), elsewhere);
    assert_eq!(metric(&mut instance, "dispatcher_sink_fallback_total{sink=\"out\"}"), elsewhere as f64);
    let back = recount(&there.requests()[before..], |_| true);
    assert_eq!(back.lines() + elsewhere, sent + 1000, "each went one way");
}

#[test]
fn another_sink_takes_over_only_after_the_time_it_was_given() {
    for (after, takes_over) in [("20ms", true), ("1h", false)] {
        let (dir, there) = (dir(), Destination::start());
        there.always(status(503));
        let breaker = "circuit_breaker: { failure_threshold: 1, success_threshold: 1, timeout: 20ms }";
        let keys = format!(", {breaker}, fallback: spare, fallback_after: {after}");
        let sinks = out(&there, &keys) + "\n  spare: { type: blackhole, when: 'message == \"never\"' }";
        let mut instance = start(dir.path(), &config(QUICK, &sinks), &lines(0, 10));
        if !takes_over {
            // Long after it would have been the other's turn by the first value.
            there.wait("many probes", |requests| requests.len() > 20);
            there.always(status(204));
        }
        let stats = instance.wait_delivered("out", 10);
        assert_eq!(number(sink(&stats, "out"), "fallback"), if takes_over { 10 } else { 0 });
    }
}

#[test]
fn answers_about_a_batch_count_against_max_retries_wherever_that_is_written() {
    for (general, own, attempts) in [
        ("", "", 4),
        (", max_retries: 0", "", 1),
        (", max_retries: 2", "", 3),
        (", max_retries: 0", ", retry: { max_retries: 1 }", 2),
    ] {
        let (dir, there) = (dir(), Destination::start());
        there.always(status(500));
        let config = config(&format!("{QUICK}{general}"), &out(&there, own));
        let mut instance = start(dir.path(), &config, &(line("a", 0, 40) + "\n"));
        let stats = instance.wait_stats("given up", |stats| rejected(stats) == 1 && at_rest(stats));
        assert_ledger(&stats);
        assert_eq!(there.requests().len(), attempts, "{general} {own}");
        assert!(instance.log().contains("refused (retries_spent)"), "{}", instance.log());
    }
    let (dir, there) = (dir(), Destination::start());
    there.script(vec![status(500); 20]);
    let config = config(&format!("{QUICK}, max_retries: unlimited"), &out(&there, ""));
    let mut instance = start(dir.path(), &config, &lines(0, 10));
    let stats = instance.wait_delivered("out", 10);
    assert_eq!((there.requests().len(), rejected(&stats)), (21, 0));
}

#[test]
fn a_destination_that_asks_for_time_gets_it() {
    let (dir, there) = (dir(), Destination::start());
    there.script([Act::Answer(429, vec![("Retry-After", "1".into())], Vec::new())]);
    let mut instance = start(dir.path(), &config(QUICK, &out(&there, "")), &lines(0, 10));
    there.wait("the first", |requests| requests.len() == 1);
    let first = Instant::now();
    there.wait("the second", |requests| requests.len() == 2);
    // Ours of 10 ms would be over long ago; a little less than a second as the first was seen late.
    assert!(first.elapsed() > Duration::from_millis(800), "{:?}", first.elapsed());
    instance.wait_delivered("out", 10);
}
