//! The same against a real HTTP sink of the binary: sizes and numbers, no times.

use crate::destination::{Destination, Request, status};
use crate::support::*;
use serde_json::Value;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

fn config(dispatcher: &str, there: &Destination, keys: &str) -> String {
    format!(
        "data_dir: state\nadmin: {{ listen: '127.0.0.1:0' }}\ndispatcher: {{ {dispatcher} }}\n\
         sources: {{ in: {{ type: stdin }} }}\n\
         sinks: {{ out: {{ type: http, url: '{}', body: lines{keys} }} }}\n",
        there.url()
    )
}

fn lines_of(request: &Request) -> usize {
    request.body.iter().filter(|byte| **byte == b'\n').count()
}

fn sink(stats: &Value) -> &Value {
    row(stats, "sinks", "out")
}

/// A destination that takes 20 ms for any request.
fn slow(there: &Destination) -> Arc<AtomicUsize> {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&most);
    there.judge(move |_| {
        most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
        std::thread::sleep(Duration::from_millis(20));
        now.fetch_sub(1, SeqCst);
        status(204)
    });
    seen
}

#[test]
fn against_a_sink_with_20_ms_fixed_cost_batches_grow_beyond_a_thousand() {
    let (dir, there) = (tempfile::tempdir().expect("a directory"), Destination::start());
    slow(&there);
    let mut instance = Instance::start(dir.path(), &config("queue_size: 100000", &there, ""));
    let mut stdin = instance.stdin();
    let text: String = (0..60_000).map(|n| line("a", n, 60) + "\n").collect();
    stdin.write_all(text.as_bytes()).expect("it reads");
    let stats = instance.wait_delivered("out", 60_000);
    let largest = there.requests().iter().map(lines_of).max().expect("requests");
    assert!(largest > 1000, "{largest} entries at most");
    assert!(number(&sink(&stats)["lane"], "batch_want") > 1000, "{stats:#}");
    let history = sink(&stats)["history"].as_array().expect("requests");
    assert!(!history.is_empty() && history.len() <= 32);
    for request in history {
        assert_eq!(request["came"], "took");
        assert!(request["latency_ms"].as_f64() >= Some(20.0) && number(request, "entries") > 0, "{request}");
    }
    assert_ledger(&stats);
}

#[test]
fn requests_in_flight_grow_where_batches_wait_and_not_beyond_what_was_written() {
    // A sink that is asked for batches of a hundred at most, so that more at once is all that helps.
    let small = "ordering: none, batch: { max_entries: 100 }";
    for (keys, least, most) in [("", 3, 8), (", concurrency: 2", 2, 2), (", concurrency: 1", 1, 1)] {
        let (dir, there) = (tempfile::tempdir().expect("a directory"), Destination::start());
        let seen = slow(&there);
        let mut instance = Instance::start(dir.path(), &config("", &there, &format!(", {small}{keys}")));
        let mut stdin = instance.stdin();
        let text: String = (0..20_000).map(|n| line("a", n, 60) + "\n").collect();
        stdin.write_all(text.as_bytes()).expect("it reads");
        let stats = instance.wait_delivered("out", 20_000);
        let at_once = seen.load(SeqCst);
        assert!((least..=most).contains(&at_once), "{at_once} at once with `{keys}`");
        assert!(number(&sink(&stats)["lane"], "batches_out_limit") <= most as u64);
        let senders = stats["threads"].as_array().expect("threads").iter();
        let is_sender = |row: &&Value| row["name"].as_str().is_some_and(|name| name.starts_with("send-out"));
        assert_eq!(senders.filter(is_sender).count(), most, "{keys}");
    }
}

#[test]
fn a_sink_that_says_it_has_too_much_gets_less_at_once_unless_flow_control_is_off() {
    for (enabled, less) in [("true", true), ("false", false)] {
        let (dir, there) = (tempfile::tempdir().expect("a directory"), Destination::start());
        let well = Arc::new(AtomicBool::new(false));
        let is_well = Arc::clone(&well);
        there.judge(move |_| status(if is_well.load(SeqCst) { 204 } else { 429 }));
        let dispatcher = format!(
            "retry_backoff: 5ms, retry_backoff_max: 10ms, circuit_breaker: {{ enabled: false }}, \
             flow_control: {{ enabled: {enabled} }}"
        );
        let keys = ", ordering: none, concurrency: 4, batch: { max_entries: 100 }";
        let mut instance = Instance::start(dir.path(), &config(&dispatcher, &there, keys));
        let mut stdin = instance.stdin();
        let text: String = (0..2000).map(|n| line("a", n, 60) + "\n").collect();
        stdin.write_all(text.as_bytes()).expect("it reads");
        let limit = |stats: &Value| number(&sink(stats)["lane"], "batches_out_limit");
        let stats = instance.wait_stats("it said so often enough", |stats| {
            number(sink(stats), "errors") >= 40 && (!less || limit(stats) == 1)
        });
        assert_eq!(limit(&stats), if less { 1 } else { 4 });
        let last = sink(&stats)["history"].as_array().and_then(|all| all.last()).expect("requests");
        assert_eq!(last["came"], "unwell");
        let (_, page) = instance.get("/metrics");
        let series = format!("dispatcher_sink_batches_out_limit{{sink=\"out\"}} {}", limit(&stats));
        assert!(page.lines().any(|line| line == series), "{series}");
        well.store(true, SeqCst);
        assert_ledger(&instance.wait_delivered("out", 2000));
    }
}
