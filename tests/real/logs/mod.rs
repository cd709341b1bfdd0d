//! What real programs log on this machine, read while they write it, by the steps a user would write for it.
//!
//! Every program is run here and now: nothing is a recorded sample. How many entries there have to be is counted in the
//! files from outside.

mod programs;

use super::support::{Instance, assert_ledger, at_rest, number, row};
use programs::{NGINX_AGENT, Place};
use serde_json::Value;
use std::fs;

/// A log, and how it is read.
struct Log {
    /// The name of its file.
    file: &'static str,
    /// Keys of the source beside those of every one here, each on a line of its own.
    keys: &'static str,
    /// The steps of its pipeline, in YAML.
    steps: &'static str,
    /// Whether a line begins an entry.
    begins: fn(&str) -> bool,
}

/// Starts reading `log`, has `program` write it, and gives all entries that came out and the step errors.
fn read(log: &Log, program: impl FnOnce(&Place)) -> (Vec<Value>, u64) {
    let place = Place::new(log.file);
    let config = format!(
        "data_dir: state\nadmin: {{ listen: \"127.0.0.1:0\" }}\nsources:\n  log:\n    type: file\n    include: [\"logs/{}\"]\n    \
         read_from: beginning\n    rescan: 100ms\n    pipeline: p\n    {}\npipelines:\n  p: {}\n\
         sinks: {{ out: {{ type: file, path: out.json, format: json }} }}\n",
        log.file, log.keys, log.steps
    );
    let mut instance = Instance::start(place.dir(), &config);
    program(&place);
    let text = fs::read_to_string(place.log()).expect("the log can be read");
    let wanted = text.lines().filter(|line| (log.begins)(line)).count() as u64;
    assert!(wanted > 1, "the program wrote next to nothing: {text:?}");
    let stats = instance.wait_stats("all of it was read", |stats| {
        number(row(stats, "sources", "log"), "received") >= wanted && at_rest(stats)
    });
    assert_ledger(&stats);
    assert_eq!(number(row(&stats, "sources", "log"), "received"), wanted, "{text}");
    let errors = number(row(&stats, "sources", "log"), "step_errors");
    let out = fs::read_to_string(place.dir().join("out.json")).expect("the output can be read");
    assert_eq!(instance.terminate(), 0);
    (out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect(), errors)
}

fn every_line(_: &str) -> bool {
    true
}

fn begins_with_a_digit(line: &str) -> bool {
    line.starts_with(|c: char| c.is_ascii_digit())
}

/// The only entry for which `is_it` says yes.
#[track_caller]
fn only<'a>(entries: &'a [Value], what: &str, is_it: impl Fn(&Value) -> bool) -> &'a Value {
    let found: Vec<_> = entries.iter().filter(|entry| is_it(entry)).collect();
    assert_eq!(found.len(), 1, "{what}: {entries:#?}");
    found[0]
}

/// Asserts that the entry's time is of the last few minutes: it is the one the program wrote, and it is now.
#[track_caller]
fn assert_recent(entry: &Value) {
    let time: jiff::Timestamp = entry["time"].as_str().and_then(|time| time.parse().ok()).expect("a time");
    let age = jiff::Timestamp::now().duration_since(time).as_secs();
    assert!((-1..600).contains(&age), "{age} s old: {entry:#}");
}

#[test]
fn dpkg_says_what_it_installs_and_removes() {
    let log = Log {
        file: "dpkg.log",
        keys: "",
        steps: r#"
    - parse: { format: regex, pattern: '^(?<at>\S+ \S+) (?<action>\S+) (?<what>\S+)(?: (?<package>\S+)(?: (?<old>\S+)(?: (?<new>\S+))?)?)?$' }
    - timestamp: { field: at, formats: ['%Y-%m-%d %H:%M:%S'], timezone: local, keep_original: false }"#,
        begins: every_line,
    };
    let (entries, errors) = read(&log, Place::dpkg);
    assert_eq!(errors, 0);
    let install = only(&entries, "install", |entry| entry["fields"]["action"] == "install");
    assert_eq!(install["fields"]["what"], "ringmain-trial:all");
    assert_eq!(
        (&install["fields"]["package"], &install["fields"]["old"]),
        (&"<none>".into(), &Value::from("1.2-3"))
    );
    let installed =
        |entry: &&Value| entry["fields"]["action"] == "status" && entry["fields"]["what"] == "installed";
    assert!(entries.iter().filter(installed).all(|entry| entry["fields"]["package"] == "ringmain-trial:all"));
    assert_eq!(entries.last().expect("entries")["fields"]["what"], "not-installed");
    entries.iter().for_each(assert_recent);
}

#[test]
fn nginx_says_who_asked_for_what() {
    let log = Log { file: "access.log", keys: "", steps: "[ { parse: nginx } ]", begins: every_line };
    let (entries, errors) = read(&log, |place| place.nginx("access.log"));
    assert_eq!(errors, 0);
    let found = only(&entries, "the page", |entry| entry["fields"]["status"] == 200);
    let fields = &found["fields"];
    assert_eq!((&fields["method"], &fields["path"]), (&"GET".into(), &Value::from("/page?q=1%202")));
    assert_eq!((&fields["protocol"], &fields["body_bytes_sent"]), (&"HTTP/1.1".into(), &Value::from(6)));
    assert_eq!((&fields["remote_addr"], &fields["remote_user"]), (&"127.0.0.1".into(), &Value::Null));
    // It writes quotes as \x22.
    assert_eq!(fields["http_user_agent"], NGINX_AGENT.replace('"', "\\x22"));
    let missing = only(&entries, "the missing page", |entry| entry["fields"]["status"] == 404);
    assert_eq!(
        (&missing["fields"]["path"], &missing["fields"]["http_referer"]),
        (&"/nope".into(), &"http://a/b".into())
    );
    // What is no request at all.
    let odd = only(&entries, "the odd one", |entry| entry["fields"]["status"] == 400);
    assert_eq!((&odd["fields"]["method"], &odd["fields"]["request"]), (&Value::Null, &Value::from("HELLO")));
    entries.iter().for_each(assert_recent);
}

#[test]
fn nginx_says_what_went_wrong() {
    let log = Log {
        file: "error.log",
        keys: "",
        steps: "[ { parse: { format: nginx_error, timezone: local } } ]",
        begins: every_line,
    };
    let (entries, errors) = read(&log, |place| place.nginx("error.log"));
    assert_eq!(errors, 0);
    let error = only(&entries, "the missing page", |entry| entry["fields"]["level"] == "error");
    let fields = &error["fields"];
    assert!(fields["message"].as_str().is_some_and(|text| text.starts_with("open() ")), "{error:#}");
    assert_eq!((&fields["client"], &fields["request"]), (&"127.0.0.1".into(), &"GET /nope HTTP/1.1".into()));
    assert_eq!((&fields["host"], &fields["referrer"]), (&"test.invalid".into(), &"http://a/b".into()));
    assert!(fields["connection"].is_u64() && fields["pid"].is_u64(), "{error:#}");
    entries.iter().for_each(assert_recent);
}

#[test]
fn redis_says_how_it_starts_and_ends() {
    let log = Log {
        file: "redis.log",
        keys: "",
        steps: r#"
    - parse: { format: regex, pattern: '^(?<pid>\d+):(?<role>[A-Z]) (?<at>\d+ \w+ \d+ [\d:.]+) (?<mark>[-.*#]) (?<text>.*)$' }
    - timestamp: { field: at, formats: ['%d %b %Y %H:%M:%S%.f'], timezone: local }"#,
        begins: every_line,
    };
    let (entries, errors) = read(&log, Place::redis);
    // A line of its signal handler has another form: it passes, counted by both steps.
    let odd = entries.iter().filter(|entry| entry["fields"]["pid"].is_null()).count() as u64;
    assert_eq!(errors, 2 * odd);
    assert!(odd <= 1, "{entries:#?}");
    let ready = |entry: &Value| {
        entry["fields"]["text"].as_str().is_some_and(|text| text.contains("ready to accept connections"))
    };
    let ready = only(&entries, "it is ready", ready);
    assert_eq!((&ready["fields"]["role"], &ready["fields"]["mark"]), (&"M".into(), &Value::from("*")));
    assert!(ready["fields"]["pid"].is_u64());
    entries.iter().for_each(assert_recent);
}

#[test]
fn postgres_says_which_statement_failed_over_several_lines() {
    let log = Log {
        file: "postgres.log",
        keys: r"multiline: { start: '^\d{4}-\d{2}-\d{2} ' }",
        steps: r#"
    - parse: { format: regex, pattern: '(?s)^(?<at>\S+ \S+) (?<zone>\S+) \[(?<pid>\d+)\] (?<level>[A-Z]+):\s+(?<text>.*)$' }
    - timestamp: { field: at, formats: ['%Y-%m-%d %H:%M:%S%.f'], timezone: utc }"#,
        begins: begins_with_a_digit,
    };
    let (entries, errors) = read(&log, Place::postgres);
    assert_eq!(errors, 0);
    let level =
        |level: &str| entries.iter().filter(|entry| entry["fields"]["level"] == level).collect::<Vec<_>>();
    let said: Vec<_> = level("ERROR").iter().map(|entry| entry["fields"]["text"].clone()).collect();
    assert_eq!(said, ["division by zero", "relation \"nothing\" does not exist at character 21"]);
    let statements = level("STATEMENT");
    assert_eq!(statements.len(), 2, "{entries:#?}");
    // Further lines of a statement begin with a tab.
    let text = statements[1]["fields"]["text"].as_str().expect("text");
    assert!(text.contains("SELECT *\n\t  FROM\n\t    nothing"), "{text:?}");
    entries.iter().for_each(assert_recent);
}

#[test]
fn rsyslog_says_who_logged_in() {
    let log = Log {
        file: "auth.log",
        keys: "",
        steps: r#"
    - parse: { format: syslog, timezone: local }
    - parse: { format: regex, field: message, pattern: '^Accepted (?<method>\S+) for (?<user>\S+) from (?<from>\S+) port (?<port>\d+)' }"#,
        begins: every_line,
    };
    let (entries, errors) = read(&log, Place::auth);
    assert_eq!((entries.len(), errors), (2, 1), "the second says something else: {entries:#?}");
    let fields = &entries[0]["fields"];
    assert_eq!((&fields["app"], &fields["procid"]), (&"sshd".into(), &"4711".into()));
    assert_eq!((&fields["user"], &fields["from"]), (&"ann".into(), &"192.0.2.7".into()));
    assert_eq!((&fields["method"], &fields["port"]), (&"publickey".into(), &51_234.into()));
    assert_eq!((&entries[1]["fields"]["app"], &entries[1]["fields"]["procid"]), (&"su".into(), &Value::Null));
    assert_eq!(entries[1]["fields"]["message"], "FAILED SU (to root) bob on pts/1");
    entries.iter().for_each(assert_recent);
}

#[test]
fn the_journal_is_read_as_it_exports_itself() {
    let log = Log {
        file: "journal.export",
        keys: "multiline: { start: '^__CURSOR=' }",
        steps: r#"
    - parse: { format: regex, pattern: '(?m)^__REALTIME_TIMESTAMP=(?<at>\d+)$' }
    - parse: { format: regex, pattern: '(?m)^MESSAGE=(?<text>.*)$' }
    - parse: { format: regex, pattern: '(?m)^PRIORITY=(?<priority>\d)$' }
    - parse: { format: regex, pattern: '(?m)^_SYSTEMD_UNIT=(?<unit>.*)$' }
    - timestamp: { field: at, formats: [unix_us], keep_original: false }"#,
        begins: |line| line.starts_with("__CURSOR="),
    };
    let (entries, errors) = read(&log, |place| place.journal("export"));
    assert_eq!((entries.len(), errors), (3, 0));
    let fields = &entries[1]["fields"];
    assert_eq!((&fields["text"], &fields["priority"]), (&"Started shop.service.".into(), &6.into()));
    assert_eq!(fields["unit"], "shop-1.service");
    entries.iter().for_each(assert_recent);
}

#[test]
fn the_journal_is_read_as_json() {
    let log = Log {
        file: "journal.json",
        keys: "",
        steps: r#"
    - parse: json
    - timestamp: { field: __REALTIME_TIMESTAMP, formats: [unix_us] }
    - keep: 'PRIORITY <= 6 and _SYSTEMD_UNIT == "shop-1.service"'"#,
        begins: every_line,
    };
    let (entries, errors) = read(&log, |place| place.journal("json"));
    assert_eq!((entries.len(), errors), (1, 0));
    assert_eq!(entries[0]["fields"]["MESSAGE"], "Started shop.service.");
    assert!(entries[0]["fields"]["_BOOT_ID"].is_string());
    assert_recent(&entries[0]);
}

#[test]
fn a_traceback_is_one_entry_with_the_head_of_its_logger() {
    let log = Log {
        file: "python.log",
        keys: "multiline: { preset: python }",
        steps: r#"
    - parse: { format: regex, pattern: '(?s)^(?<at>\S+ \S+) (?<level>[A-Z]+) (?<logger>\S+) (?<text>[^\n]*)(?:\n(?<trace>Traceback .*))?$' }
    - timestamp: { field: at, formats: [iso8601], timezone: local }"#,
        begins: begins_with_a_digit,
    };
    let (entries, errors) = read(&log, Place::python);
    assert_eq!((entries.len(), errors), (3, 0), "{entries:#?}");
    let fields = &entries[1]["fields"];
    assert_eq!((&fields["level"], &fields["logger"]), (&"ERROR".into(), &Value::from("shop")));
    assert_eq!(fields["text"], "the order could not be priced");
    let trace = fields["trace"].as_str().expect("a trace");
    assert!(trace.contains("During handling of the above exception, another exception occurred:"), "{trace}");
    assert!(trace.ends_with("RuntimeError: no price"), "{trace:?}");
    assert_eq!(
        (&entries[2]["fields"]["trace"], &entries[2]["fields"]["level"]),
        (&Value::Null, &"WARNING".into())
    );
    entries.iter().for_each(assert_recent);
}

#[test]
fn the_kernel_says_what_it_found() {
    let log = Log {
        file: "kernel.log",
        keys: "",
        steps: r#"
    - parse: { format: regex, pattern: '^(?<facility>\w+)\s*:(?<level>\w+)\s*: (?<at>\S+) (?<text>.*)$' }
    - timestamp: { field: at, formats: ['%Y-%m-%dT%H:%M:%S,%6f%:z'] }"#,
        begins: every_line,
    };
    let (entries, errors) = read(&log, Place::kernel);
    assert_eq!(errors, 0);
    let own = |entry: &Value| entry["fields"]["facility"] == "kern";
    assert!(entries.iter().any(own), "it says nothing by itself: {entries:#?}");
    let ours = entries.last().expect("entries");
    assert_eq!((&ours["fields"]["facility"], &ours["fields"]["level"]), (&"daemon".into(), &"notice".into()));
    assert_eq!(ours["fields"]["text"], "ringmain-trial[1]: hello from the test");
    assert_recent(ours);
}

#[test]
fn prometheus_says_in_logfmt_what_it_does() {
    let log = Log {
        file: "prometheus.log",
        keys: "",
        steps: r#"
    - parse: logfmt
    - timestamp: { field: ts, keep_original: false }"#,
        begins: every_line,
    };
    let (entries, errors) = read(&log, Place::prometheus);
    assert_eq!(errors, 0);
    let is_start = |entry: &Value| entry["fields"]["msg"] == "Starting Prometheus Server";
    let start = only(&entries, "its start", is_start);
    assert_eq!((&start["fields"]["level"], &start["fields"]["mode"]), (&"info".into(), &"server".into()));
    assert!(
        start["fields"]["version"].as_str().is_some_and(|text| text.starts_with("(version=")),
        "{start:#}"
    );
    let failed = only(&entries, "its end", |entry| entry["fields"]["level"] == "error");
    assert!(failed["fields"]["err"].is_string(), "{failed:#}");
    entries.iter().for_each(assert_recent);
}
