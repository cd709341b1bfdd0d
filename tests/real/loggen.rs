//! syslog-ng's load generator: everything it sends comes out, in the order of each connection.

use super::part::finish;
use super::support::{Instance, assert_ledger, number, row};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Command;

const CONFIG: &str = r#"
data_dir: state
admin: { listen: "127.0.0.1:0" }
sources: { net: { type: syslog, listen: ["tcp://127.0.0.1:0"] } }
sinks: { all: { type: file, path: out/all.log }, none: { type: blackhole } }
"#;

#[test]
fn a_million_lines_over_one_connection_all_arrive() {
    all_arrive(1, 1_000_000, &[]);
}

#[test]
fn octet_counted_messages_over_four_connections_all_arrive() {
    all_arrive(4, 100_000, &["--syslog-proto"]);
}

/// Has loggen send `count` messages over each of `connections`, and recounts them by the numbers it puts in.
fn all_arrive(connections: u64, count: u64, options: &[&str]) {
    let dir = tempfile::tempdir().expect("a directory");
    let mut instance = Instance::start(dir.path(), CONFIG);
    let address = instance.address("source net", "tcp://");
    let (host, port) = address.split_once(':').expect("host and port");
    // It stops at the first of number and interval; the interval, in seconds, is never reached.
    let loggen = finish(
        Command::new("loggen")
            .args(["--inet", "--stream", "--rate=1000000", "--size=250", "--interval=600"])
            .args([format!("--number={count}"), format!("--active-connections={connections}")])
            .args(options)
            .args([host, port]),
    );
    print!("loggen: {}", String::from_utf8_lossy(&loggen.stderr));
    let all = connections * count;
    instance.wait_stats("all came in", |stats| number(row(stats, "sources", "net"), "received") >= all);
    let stats = instance.wait_delivered("all", all);
    assert_ledger(&stats);
    assert_eq!(number(row(&stats, "sources", "net"), "received"), all);
    for sink in ["all", "none"] {
        assert_eq!(number(row(&stats, "sinks", sink), "delivered"), all, "{sink}");
    }
    assert_eq!(instance.terminate(), 0);
    let next = recount(&dir.path().join("out/all.log"));
    assert_eq!(next, (0..connections).map(|connection| (connection, count)).collect());
}

/// The number that would come next on each connection; every line carries the one it has to.
fn recount(path: &Path) -> BTreeMap<u64, u64> {
    let mut next = BTreeMap::new();
    for line in BufReader::new(File::open(path).expect("output")).lines() {
        let line = line.expect("output is text");
        let value = |name: &str| -> Option<u64> {
            let at = line.find(name)? + name.len();
            line[at..].split(',').next()?.parse().ok()
        };
        let (Some(thread), Some(number)) = (value("thread: "), value("seq: ")) else {
            panic!("not a line of loggen: {line:?}")
        };
        let expected = next.entry(thread).or_insert(0);
        assert_eq!(number, *expected, "connection {thread}");
        *expected += 1;
    }
    next
}
