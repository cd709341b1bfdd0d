//! Prometheus' own judge of an exposition.

use super::part::finish;
use super::support::{Instance, row};
use std::fs::{self, File};
use std::io::Write;
use std::process::Command;

const CONFIG: &str = r#"
data_dir: state
admin: { listen: "127.0.0.1:0" }
sources: { in: { type: stdin }, net: { type: syslog, listen: ["tcp://127.0.0.1:0", "udp://127.0.0.1:0"] } }
sinks: { out: { type: file, path: out/all.log }, none: { type: blackhole } }
"#;

#[test]
fn promtool_finds_nothing_to_complain_of_in_the_metrics() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut instance = Instance::start(dir.path(), CONFIG);
    instance.stdin().write_all(b"one\ntwo\n").expect("it reads");
    let stats = instance.wait_delivered("out", 2);
    assert_eq!(row(&stats, "sources", "in")["received"], 2);
    let (status, metrics) = instance.get("/metrics");
    assert_eq!(status, 200);
    let samples = metrics.lines().filter(|line| !line.starts_with('#')).count();
    assert!(samples > 20, "only {samples} samples:\n{metrics}");
    let path = dir.path().join("metrics");
    fs::write(&path, &metrics).expect("written");
    let said =
        finish(Command::new("promtool").args(["check", "metrics"]).stdin(File::open(path).expect("opened")));
    assert!(said.stdout.is_empty() && said.stderr.is_empty(), "{said:?}");
    assert_eq!(instance.terminate(), 0);
}

#[test]
fn the_alert_rules_are_sound_and_come_when_they_should() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::copy("packaging/alerts.yaml", dir.path().join("alerts.yaml")).expect("copied");
    fs::copy("tests/real/alerts_test.yaml", dir.path().join("test.yaml")).expect("copied");
    for args in [["check", "rules", "alerts.yaml"], ["test", "rules", "test.yaml"]] {
        let said = finish(Command::new("promtool").args(args).current_dir(dir.path()));
        assert!(said.status.success(), "{said:?}");
    }
}
