//! How it ends, and how it refuses to begin: exit codes and what they are said with.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test says with them what it relies on")]

mod support;

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use support::*;

fn config(rest: &str) -> String {
    format!("data_dir: state\nadmin: {{ listen: \"127.0.0.1:0\" }}\n{rest}")
}

fn refused(dir: &Path, text: &str) -> (i32, String) {
    fs::write(dir.join("config.yaml"), text).expect("written");
    let (code, _, error) = run(dir, &["-c", "config.yaml"]);
    (code, error)
}

const STDIN_TO_FILE: &str =
    "sources: { in: { type: stdin } }\nsinks: { out: { type: file, path: out/all.log } }\n";
/// A sink nobody reads: the console of a child whose standard output is a full pipe.
const STDIN_TO_CONSOLE: &str =
    "sources: { in: { type: stdin } }\nsinks: { out: { type: console, format: raw } }\n";

#[test]
fn a_clean_end_delivers_all_that_came_and_exits_0() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut instance = Instance::start(dir.path(), &config(STDIN_TO_FILE));
    let mut stdin = instance.stdin();
    let text: String = (0..10_000).map(|n| line("s", n, 60) + "\n").collect();
    stdin.write_all(text.as_bytes()).expect("it reads");
    stdin.write_all(b"stream=s n=10000 ").expect("it reads");
    drop(stdin);
    instance.wait_delivered("out", 10_001);
    instance.signal("TERM");
    assert_eq!(instance.wait().code(), Some(0));
    let last = instance.wait_log("ended after");
    assert!(
        last.contains("10001 entries received, 10001 copies delivered, 0 dropped, 0 not delivered"),
        "{last}"
    );
    let recount = Recount::of(&dir.path().join("out"));
    recount.assert_exact("s", 10_001);
}

#[test]
fn what_cannot_be_delivered_in_time_is_said_and_exits_1() {
    let dir = tempfile::tempdir().expect("a directory");
    let text = format!("dispatcher: {{ drain_timeout: 200ms }}\n{STDIN_TO_CONSOLE}");
    let mut instance = Instance::start(dir.path(), &config(&text));
    let mut stdin = instance.stdin();
    let lines: String = (0..4_000).map(|n| line("s", n, 100) + "\n").collect();
    stdin.write_all(lines.as_bytes()).expect("it reads");
    instance.wait_stats("all came in", |stats| number(row(stats, "sources", "in"), "received") == 4_000);
    instance.signal("TERM");
    assert_eq!(instance.wait().code(), Some(1));
    // The pipe holds a little; what it holds was delivered.
    let last = instance.wait_log("ended after");
    let count = |words: &str| {
        let before = last.split(words).next().and_then(|text| text.rsplit(' ').next());
        before.and_then(|text| text.parse::<u64>().ok()).unwrap_or_else(|| panic!("no {words:?} in {last}"))
    };
    assert!(count(" not delivered") > 0, "{last}");
    assert_eq!(count(" copies delivered") + count(" not delivered"), 4_000, "{last}");
}

#[test]
fn a_second_signal_ends_it_at_once_with_130() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut instance = Instance::start(dir.path(), &config(STDIN_TO_CONSOLE));
    let mut stdin = instance.stdin();
    let lines: String = (0..4_000).map(|n| line("s", n, 100) + "\n").collect();
    stdin.write_all(lines.as_bytes()).expect("it reads");
    instance.wait_stats("all came in", |stats| number(row(stats, "sources", "in"), "received") == 4_000);
    instance.signal("TERM");
    instance.wait_log("once more to end at once");
    instance.signal("INT");
    assert_eq!(instance.wait().code(), Some(130));
}

#[test]
fn a_wrong_config_exits_2_and_shows_the_place() {
    let dir = tempfile::tempdir().expect("a directory");
    let (code, error) = refused(dir.path(), &config(&STDIN_TO_FILE.replace("path:", "pathh:")));
    assert_eq!(code, 2, "{error}");
    for words in ["config.yaml:4:", "pathh", "did you mean `path`?", "^^^^^"] {
        assert!(error.contains(words), "{words:?} in\n{error}");
    }
    assert_eq!(run(dir.path(), &["-c", "no-such.yaml"]).0, 2);
    assert_eq!(run(dir.path(), &["--nonsense"]).0, 2);
}

#[test]
fn a_port_in_use_exits_3_and_names_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound");
    let sinks = "sinks: { out: { type: file, path: out/all.log } }\n";
    let source = format!("sources: {{ net: {{ type: syslog, listen: [\"tcp://{address}\"] }} }}\n{sinks}");
    let (code, error) = refused(dir.path(), &config(&source));
    assert_eq!(code, 3, "{error}");
    assert!(error.contains("source net") && error.contains(&address.to_string()), "{error}");
    let admin = format!("data_dir: state\nadmin: {{ listen: \"{address}\" }}\n{STDIN_TO_FILE}");
    let (code, error) = refused(dir.path(), &admin);
    assert_eq!(code, 3, "{error}");
    assert!(error.contains("admin: cannot listen on") && error.contains(&address.to_string()), "{error}");
}

#[test]
fn a_directory_that_cannot_be_had_exits_3_and_names_it() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("file"), "").expect("written");
    let (code, error) =
        refused(dir.path(), &config(STDIN_TO_FILE).replace("data_dir: state", "data_dir: file/state"));
    assert_eq!(code, 3, "{error}");
    assert!(error.contains("data_dir file/state"), "{error}");
    let (code, error) = refused(dir.path(), &config(&STDIN_TO_FILE.replace("out/all.log", "file/all.log")));
    assert_eq!(code, 3, "{error}");
    assert!(error.contains("sink out") && error.contains("file"), "{error}");
}

#[test]
fn a_second_instance_on_the_same_data_exits_3_and_leaves_the_first_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut first = Instance::start(dir.path(), &config(STDIN_TO_FILE));
    let (code, error) = refused(dir.path(), &config(STDIN_TO_FILE));
    assert_eq!(code, 3, "{error}");
    assert!(error.contains("another ringmain is using it"), "{error}");
    let mut stdin = first.stdin();
    stdin.write_all(b"stream=s n=0 \n").expect("it reads");
    first.wait_delivered("out", 1);
    assert_eq!(first.terminate(), 0);
}
