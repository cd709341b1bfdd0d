//! The config as a user meets it: what loads, what is refused, and in which words.

use std::time::Duration;

use proptest::prelude::{any, prop_assert, proptest};

use super::*;
use crate::sinks::config::{BreakerConfig, Format, Fsync, Jitter, Ordering, RetryConfig, RetryKeys};
use crate::sources::file::config::ReadFrom;
use crate::units::Pairs;

/// The smallest config there is.
const SMALL: &str = "sources: { in: { type: stdin } }\nsinks: { out: { type: console } }\n";

fn environment(name: &str) -> Option<String> {
    match name {
        "SIZE" => Some("100".into()),
        "NAME" => Some("from the environment".into()),
        "LINES" => Some("a\nsinks: \"x\"".into()),
        _ => None,
    }
}

/// An expression is wrong at its first `?`, a template at its first `}`.
const LANGUAGES: TextChecks = TextChecks {
    expression: |text| text.find('?').map_or(Ok(()), |at| Err((at..at + 1, "expected a comparison".into()))),
    template: |text| text.find("}}").map_or(Ok(()), |at| Err((at..at + 1, "a `}` without its `{`".into()))),
    value: |_| Ok(()),
    bare_value: |_| Ok(()),
    pattern: |_| Ok(()),
};

fn host() -> Host {
    Host {
        cores: vec![0, 1],
        machine: topology::Machine::flat(&[0, 1]),
        parallelism: 2,
        memory: Some(1 << 30),
    }
}

fn parse(text: &str) -> Result<Config, Report> {
    Config::parse_for("f.yaml", text, &environment, &host(), &LANGUAGES)
}

/// A whole config around `sinks`, `sources` or any other section.
fn refused(text: &str) -> String {
    let mut whole = text.to_owned();
    for (key, rest) in
        [("sources:", "sources: { in: { type: stdin } }"), ("sinks:", "sinks: { out: { type: console } }")]
    {
        if !text.starts_with(key) && !text.contains(&format!("\n{key}")) {
            whole.push_str(&format!("\n{rest}"));
        }
    }
    parse(&whole).expect_err(text).to_string()
}

#[test]
fn every_mistake_is_named_with_its_place_and_what_would_be_right() {
    // The text, the message, where, the label under the caret (or nothing), and a note (or nothing).
    let cases: &[(&str, &str, &str, &str, &str)] = &[
        (
            "datadir: x",
            "unknown key `datadir` at the top level",
            "1:1",
            "^^^^^^^ did you mean `data_dir`?",
            "known keys: sources, pipelines, sinks, tests, data_dir, admin, dispatcher, quotas, affinity",
        ),
        (
            "data_dir: 5",
            "`data_dir` at the top level cannot be `5`",
            "1:11",
            "^ expected text; numbers, `true`, `false` and `null` need quotes to be text",
            "",
        ),
        (
            "data_dir: a\ndata_dir: b",
            "`data_dir` is written twice",
            "2:1",
            "^^^^^^^^ remove one of them",
            "written first in line 1, column 1",
        ),
        (
            "admin: { listen: 8401 }",
            "`listen` in `admin` cannot be `8401`",
            "1:18",
            "^^^^ expected text; numbers, `true`, `false` and `null` need quotes to be text",
            "",
        ),
        (
            "admin: { listen: nowhere }",
            "`listen` in `admin` cannot be `nowhere`",
            "1:18",
            "^^^^^^^ expected a numeric address and a port such as `127.0.0.1:8401`, or `off`",
            "",
        ),
        (
            "admin: { tokem: x }",
            "unknown key `tokem` in `admin`",
            "1:10",
            "^^^^^ did you mean `token`?",
            "known keys: listen, token",
        ),
        (
            "admin: [1]",
            "`admin` at the top level cannot be a list",
            "1:1",
            "^^^^^ expected a map of keys and values",
            "",
        ),
        (
            "dispatcher: { batch_timeout: 5 }",
            "`batch_timeout` in `dispatcher` cannot be `5`",
            "1:30",
            "^ expected a duration such as `500ms`, `5s`, `5m`, `24h`, `1d`, longer than nothing",
            "",
        ),
        (
            "dispatcher: { drain_timeout: 5x }",
            "`drain_timeout` in `dispatcher` cannot be `5x`",
            "1:30",
            "^^ expected a duration such as `500ms`, `5s`, `5m`, `24h`, `1d`",
            "",
        ),
        (
            "dispatcher: { batch_size: 0 }",
            "`batch_size` in `dispatcher` cannot be `0`",
            "1:27",
            "^ expected a whole number from 1 to 100000000",
            "",
        ),
        (
            "dispatcher: { batch_size: \"100\" }",
            "`batch_size` in `dispatcher` cannot be `100`",
            "1:27",
            "^^^^^ expected a whole number from 1 to 100000000",
            "",
        ),
        (
            "dispatcher: { queue_size: 99999999999 }",
            "`queue_size` in `dispatcher` cannot be `99999999999`",
            "1:27",
            "^^^^^^^^^^^ expected a whole number from 1 to 100000000",
            "",
        ),
        (
            "dispatcher: { queue_size: }",
            "`queue_size` in `dispatcher` cannot be empty",
            "1:15",
            "^^^^^^^^^^ expected a whole number from 1 to 100000000",
            "",
        ),
        (
            "dispatcher: { worker_count: many }",
            "`worker_count` in `dispatcher` cannot be `many`",
            "1:29",
            "^^^^ expected `auto` or a whole number from 1 to 256",
            "",
        ),
        (
            "dispatcher: { retry_jitter: ful }",
            "`retry_jitter` in `dispatcher` cannot be `ful`",
            "1:29",
            "^^^ did you mean `full`?",
            "known values: full, none",
        ),
        (
            "dispatcher: { retry_multiplier: 0.5 }",
            "`retry_multiplier` in `dispatcher` cannot be `0.5`",
            "1:33",
            "^^^ expected a number from 1 to 100",
            "",
        ),
        (
            "dispatcher: { retry_backoff: 2m }",
            "`retry_backoff` in `dispatcher` is more than 1m",
            "1:30",
            "^^ `retry_backoff_max` must not be shorter",
            "",
        ),
        (
            "dispatcher: { max_retires: 3 }",
            "unknown key `max_retires` in `dispatcher`",
            "1:15",
            "^^^^^^^^^^^ did you mean `max_retries`?",
            "",
        ),
        (
            "dispatcher: { backpressure: { enabled: yes } }",
            "`enabled` in `dispatcher.backpressure` cannot be `yes`",
            "1:40",
            "^^^ expected `true` or `false`",
            "",
        ),
        (
            "dispatcher: { backpressure: { strategy: erase } }",
            "`strategy` in `dispatcher.backpressure` cannot be `erase`",
            "1:41",
            "^^^^^",
            "known values: block, drop_oldest, drop_newest, spill",
        ),
        (
            "dispatcher: { backpressure: { high_watermark: 1.5 } }",
            "`high_watermark` in `dispatcher.backpressure` cannot be `1.5`",
            "1:47",
            "^^^ expected a number above 0 and at most 1",
            "",
        ),
        (
            "dispatcher: { backpressure: { low_watermark: 0.9 } }",
            "`low_watermark` is 0.9 and `high_watermark` 0.8 in `dispatcher.backpressure`",
            "1:46",
            "^^^ the low one must be below the high one",
            "",
        ),
        (
            "dispatcher: { backpressure: { high_watermark: 0.6 } }",
            "`low_watermark` is 0.6 and `high_watermark` 0.6 in `dispatcher.backpressure`",
            "1:47",
            "^^^ the low one must be below the high one",
            "",
        ),
        (
            "dispatcher: { dlq: { max_bytes: 1MiB } }",
            "`max_bytes` in `dispatcher.dlq` is 1MiB",
            "1:33",
            "^^^^ expected at least 9MiB",
            "",
        ),
        (
            "dispatcher: { dlq: { retention_period: 0s } }",
            "`retention_period` in `dispatcher.dlq` cannot be `0s`",
            "1:40",
            "^^ expected a duration such as `500ms`, `5s`, `5m`, `24h`, `1d`, longer than nothing",
            "",
        ),
        (
            "quotas: { max_memory: 5GB5 }",
            "`max_memory` in `quotas` cannot be `5GB5`",
            "1:23",
            "^^^^ expected `auto` or a size such as `256MiB`, `1GiB`",
            "",
        ),
        (
            "quotas: { max_memory: 512 }",
            "`max_memory` in `quotas` is 512B",
            "1:23",
            "^^^ expected at least 16MiB",
            "",
        ),
        (
            "quotas: { cpu_limit: 150% }",
            "`cpu_limit` in `quotas` cannot be `150%`",
            "1:22",
            "^^^^ expected `off` or a number of cores such as `0.5`, `1.5`, `4`, at least `0.01` and with no more than two decimals",
            "",
        ),
        (
            "affinity: { workers: [0, 7] }",
            "there is no core 7 for `workers` in `affinity`",
            "1:26",
            "^ cores this process may use: 0, 1",
            "",
        ),
        (
            "affinity: { workers: 1 }",
            "`workers` in `affinity` cannot be `1`",
            "1:22",
            "^ expected `auto` or a list of core ids such as `[0, 1]`",
            "",
        ),
        (
            "affinity: { workers: [x] }",
            "`workers` in `affinity` cannot be `x`",
            "1:23",
            "^ expected a whole number",
            "",
        ),
        (
            "sources: { a: { type: fil, include: [x] } }",
            "unknown type `fil` in source `a`",
            "1:23",
            "^^^ did you mean `file`?",
            "known types: file, docker, syslog, socket, http, loki, stdin",
        ),
        (
            "sources: { a: { include: [x] } }",
            "`type` is missing in source `a`",
            "1:12",
            "^ needs `type`",
            "known types: file, docker, syslog, socket, http, loki, stdin",
        ),
        (
            "sources: { a: { type: } }",
            "`type` in source `a` cannot be empty",
            "1:17",
            "^^^^",
            "known types: file, docker, syslog, socket, http, loki, stdin",
        ),
        (
            "sources: { a: { type: file } }",
            "`include` is missing in source `a`",
            "1:12",
            "^ needs `include`",
            "",
        ),
        (
            "sources: { a: { type: file, include: [] } }",
            "`include` in source `a` cannot be an empty list",
            "1:29",
            "^^^^^^^ expected at least one glob such as `/var/log/*.log`",
            "",
        ),
        (
            "sources: { a: { type: file, include: x } }",
            "`include` in source `a` cannot be `x`",
            "1:38",
            "^ expected a list",
            "",
        ),
        (
            "sources: { a: { type: file, include: [x, 'a[b'] } }",
            "`include` in source `a` cannot be `a[b`",
            "1:42",
            "^^^^^ not a glob: unclosed character class; missing ']'",
            "",
        ),
        (
            "sources: { a: { type: file, include: [x], max_line: 1GiB } }",
            "`max_line` in source `a` cannot be `1GiB`",
            "1:53",
            "^^^^ expected a size from `64B` to `16MiB`",
            "",
        ),
        (
            "sources: { a: { type: stdin, multiline: { preset: cobol } } }",
            "`preset` in `multiline` of source `a` cannot be `cobol`",
            "1:51",
            "^^^^^",
            "known values: java, python, go",
        ),
        (
            "sources: { a: { type: stdin, multiline: { start: '(a' } } }",
            "`start` in `multiline` of source `a` cannot be `(a`",
            "1:50",
            "^^^^ not a regular expression: unclosed group",
            "",
        ),
        (
            "sources: { a: { type: stdin, multiline: { start: a, end: b } } }",
            "`multiline` in source `a` cannot be a map",
            "1:30",
            "^^^^^^^^^ expected one of `start`, `continue`, `end` and `preset`",
            "",
        ),
        (
            "sources: { a: { type: file, include: [x], read_from: start } }",
            "`read_from` in source `a` cannot be `start`",
            "1:54",
            "^^^^^",
            "known values: beginning, end",
        ),
        (
            "sources: { a: { type: file, include: [x], listen: [] } }",
            "unknown key `listen` in source `a`",
            "1:43",
            "",
            "known keys: type, pipeline, labels, strategy, rate_limit, include, exclude, read_from, max_line, partial_timeout, rescan, rotate_wait, ignore_older, open_files, format, multiline",
        ),
        (
            "sources: { a: { type: stdin, labels: { x: 1 } } }",
            "`x` in `labels` of source `a` cannot be `1`",
            "1:43",
            "^ expected text; numbers, `true`, `false` and `null` need quotes to be text",
            "",
        ),
        (
            "sources: { a: { type: stdin, labels: { a-b: x } } }",
            "`a-b` cannot be the name of a label in source `a`",
            "1:40",
            "^^^ expected letters, digits and `_`, not a digit first",
            "",
        ),
        (
            "sources: { a: { type: stdin, pipeline: ap } }\npipelines: { app: [] }",
            "there is no pipeline `ap` for source `a`",
            "1:40",
            "^^ did you mean `app`?",
            "known pipelines: app",
        ),
        (
            "sources: { a: { type: stdin, pipeline: x } }",
            "there is no pipeline `x` for source `a`",
            "1:40",
            "^",
            "`pipelines` defines none",
        ),
        (
            "sources: { a: { type: stdin }, b: { type: stdin } }",
            "source `b` reads the standard input too",
            "1:43",
            "^^^^^ source `a` reads it already",
            "",
        ),
        (
            "sources: { a b: { type: stdin } }",
            "`a b` cannot be the name of a source",
            "1:12",
            "^^^ expected 1 to 64 of the letters A-Z a-z 0-9 _ -",
            "",
        ),
        ("sources: { a: 5 }", "source `a` cannot be `5`", "1:15", "^ expected a map with a `type`", ""),
        ("sources: {}", "there is no source", "1:1", "^^^^^^^ name at least one source here", ""),
        (
            "sources: [a]",
            "`sources` at the top level cannot be a list",
            "1:10",
            "^^^ expected a map of names",
            "",
        ),
        (
            "sources: { s: { type: syslog, listen: [ 'tcp://1.2.3.4' ] } }",
            "`listen` in source `s` cannot be `tcp://1.2.3.4`",
            "1:41",
            "^^^^^^^^^^^^^^^ the port is missing: `tcp://1.2.3.4:5514`",
            "",
        ),
        (
            "sources: { s: { type: syslog, listen: [ 'tls://1.2.3.4:5' ] } }",
            "source `s` has no certificate for `tls://1.2.3.4:5`",
            "1:41",
            "^^^^^^^^^^^^^^^^^ expected `tls: { cert: FILE, key: FILE }` beside `listen`",
            "",
        ),
        (
            "sources: { s: { type: syslog, listen: [ 'tcp://1.2.3.4:5' ], tls: { cert: a, key: b } } }",
            "`tls` in source `s` is for no address",
            "1:62",
            "^^^ expected a `tls://` address in `listen`",
            "",
        ),
        (
            "sources: { s: { type: socket, listen: [ 'unix:///a', 'unixgram:///a' ] } }",
            "`unixgram:///a` is listened on twice",
            "1:54",
            "^^^^^^^^^^^^^^^ source `s` has it already",
            "",
        ),
        (
            "sources: { s: { type: socket, listen: [ 'unix:///a' ], socket_mode: 432 } }",
            "`socket_mode` in source `s` cannot be `432`",
            "1:69",
            "^^^ expected a mode such as `0660`: a zero and three octal digits",
            "",
        ),
        (
            "sources: { s: { type: socket, listen: [ 'tcp://1.2.3.4:5' ], framing: lines } }",
            "`framing` in source `s` cannot be `lines`",
            "1:71",
            "^^^^^",
            "",
        ),
        (
            "sources: { s: { type: syslog, listen: [ '1.2.3.4:5' ] } }",
            "`listen` in source `s` cannot be `1.2.3.4:5`",
            "1:41",
            "^^^^^^^^^^^ expected `tcp://`, `tls://` or `udp://`, an address and a port: `tcp://127.0.0.1:5514`; or \
             `unix://` or `unixgram://` and a path: `unix:///run/app.sock`",
            "",
        ),
        (
            "sources: { s: { type: syslog, listen: [ 'udp://[::1]:5', 'udp://[::1]:5' ] } }",
            "`udp://[::1]:5` is listened on twice",
            "1:58",
            "^^^^^^^^^^^^^^^ source `s` has it already",
            "",
        ),
        (
            "sources: { s: { type: syslog, listen: [ 'udp://[::1]:5' ], timezone: Mars } }",
            "`timezone` in source `s` cannot be `Mars`",
            "1:70",
            "^^^^ expected `local`, `utc` or a zone this host knows, such as `Europe/Berlin`",
            "",
        ),
        (
            "sources: { s: { type: syslog, listen: [ 'udp://[::1]:5' ], partial_memory: 1KiB } }",
            "`partial_memory` in source `s` is less than one `max_message`",
            "1:76",
            "^^^^ expected at least 64KiB",
            "",
        ),
        (
            "sources: { s: { type: docker, partial_memory: 64KiB } }",
            "`partial_memory` in source `s` is less than one `max_line`",
            "1:47",
            "^^^^^ expected at least 256KiB",
            "",
        ),
        (
            "pipelines:\n  p:\n    - pars: json",
            "unknown step `pars` in pipeline `p`",
            "3:7",
            "^^^^ did you mean `parse`?",
            "known steps: parse, discard, keep, timestamp, set, rename, remove, redact, validate, sample, enrich, route, dedupe, throttle, metric",
        ),
        (
            "pipelines: { p: [ { parse: jsn } ] }",
            "`parse` in step 1 of pipeline `p` cannot be `jsn`",
            "1:28",
            "^^^ did you mean `json`?",
            "known values: json, logfmt, nginx, nginx_error, regex, syslog",
        ),
        (
            "pipelines: { p: [ discard ] }",
            "step 1 of pipeline `p` cannot be `discard`",
            "1:19",
            "^^^^^^^ expected a value: `discard: ...`",
            "",
        ),
        (
            "pipelines: { p: [ { set: { a: [1] } } ] }",
            "`a` in `set`, step 1 of pipeline `p` cannot be a list",
            "1:28",
            "^ expected text, a number, `true` or `false`",
            "",
        ),
        (
            "pipelines: { p: [ { parse: { format: regex, pattern: '(a)' } } ] }",
            "`pattern` in `parse`, step 1 of pipeline `p` cannot be `(a)`",
            "1:54",
            "^^^^^ not an expression that makes fields: it has no named groups such as `(?<status>[0-9]+)`, which become fields",
            "",
        ),
        (
            "pipelines: { p: [ { parse: regex } ] }",
            "`parse` in step 1 of pipeline `p` cannot be `regex`",
            "1:28",
            "^^^^^ `format: regex` needs a `pattern`",
            "",
        ),
        (
            "pipelines: { p: [ { parse: { format: json, timezone: utc } } ] }",
            "`parse` in step 1 of pipeline `p` cannot be a map",
            "1:21",
            "^^^^^ `timezone` is a key of `format: syslog` and `format: nginx_error` alone",
            "",
        ),
        (
            "pipelines: { p: [ { timestamp: { field: t, formats: ['%H:%M'] } } ] }",
            "`formats` in `timestamp`, step 1 of pipeline `p` cannot be `%H:%M`",
            "1:54",
            "^^^^^^^ the pattern does not say which day",
            "",
        ),
        (
            "pipelines: { p: [ { discard: 'a ? b' } ] }",
            "cannot read `discard` in step 1 of pipeline `p`",
            "1:33",
            "^ expected a comparison",
            "",
        ),
        (
            "pipelines: { p: { parse: json } }",
            "pipeline `p` cannot be a map",
            "1:17",
            "^^^^^^^^^^^^^^^ expected a list of steps, or a map with `steps`",
            "",
        ),
        (
            "sinks: { s: { type: file, path: a, pathh: b } }",
            "unknown key `pathh` in sink `s`",
            "1:36",
            "^^^^^ did you mean `path`?",
            "known keys: type, enabled, when, batch, concurrency, ordering, retry, buffer, circuit_breaker, fallback, \
             fallback_after, path, format, open_files, fsync, \
             max_files, rotate",
        ),
        (
            "sinks: { s: { type: lokki } }",
            "unknown type `lokki` in sink `s`",
            "1:21",
            "^^^^^ did you mean `loki`?",
            "known types: file, loki, http, console, blackhole",
        ),
        ("sinks: { s: { type: file } }", "`path` is missing in sink `s`", "1:10", "^ needs `path`", ""),
        (
            "sinks: { s: { type: file, path: 'x/' } }",
            "`path` in sink `s` cannot be `x/`",
            "1:33",
            "^^^^ expected the path of a file such as `./data/out/{source}/{date}.log`",
            "",
        ),
        (
            "sinks: { s: { type: file, path: 'x}}' } }",
            "cannot read `path` in sink `s`",
            "1:35",
            "^ a `}` without its `{`",
            "",
        ),
        (
            "sinks: { s: { type: console, when: 'a == b ? c' } }",
            "cannot read `when` in sink `s`",
            "1:44",
            "^ expected a comparison",
            "",
        ),
        (
            "sinks: { s: { type: console, when: \"\\\"x\\\" ?\" } }",
            "cannot read `when` in sink `s`",
            "1:36",
            "^^^^^^^^^ expected a comparison",
            "at byte 4 of: \"x\" ?",
        ),
        (
            "sinks: { s: { type: console, batch: { max_entries: 0 } } }",
            "`max_entries` in `batch` of sink `s` cannot be `0`",
            "1:52",
            "^ expected a whole number from 1 to 100000000",
            "",
        ),
        (
            "sinks: { s: { type: console, batch: { max: 1 } } }",
            "unknown key `max` in `batch` of sink `s`",
            "1:39",
            "",
            "known keys: max_entries, max_bytes",
        ),
        (
            "sinks: { s: { type: console, retry: { backoff: 5m } } }",
            "`backoff` in `retry` of sink `s` is more than 1m",
            "1:48",
            "^^ `backoff_max` must not be shorter",
            "",
        ),
        (
            "sinks: { s: { type: console, enabled: false } }",
            "no sink is enabled: no entry could leave",
            "1:1",
            "^^^^^ at least one needs `enabled: true`",
            "",
        ),
        (
            "sinks: { a: { type: file, path: x }, b: { type: file, path: x } }",
            "sink `b` writes the same files as sink `a`",
            "1:61",
            "^ give each its own path",
            "",
        ),
        (
            "sinks: { s: { type: console, when: '${NO}' } }",
            "the environment variable `NO` is not set",
            "1:37",
            "^^^^^ set it, or give it a default: `${NO:-default}`",
            "",
        ),
        (
            "sinks: { s: { type: console, when: ${SIZE} } }",
            "this is not YAML",
            "1:37",
            "",
            "inside `{ }` and `[ ]`, `${...}` must stand in quotes: \"${NAME}\"",
        ),
        (
            "dispatcher:\n\tqueue_size: 5",
            "this is not YAML",
            "2:2",
            "",
            "YAML indents with spaces, never with tabs",
        ),
    ];
    for (text, message, place, label, note) in cases {
        let shown = refused(text);
        let mut lines = shown.lines();
        assert_eq!(lines.next(), Some(&*format!("error: {message}")), "{text}\n{shown}");
        assert_eq!(lines.next(), Some(&*format!(" --> f.yaml:{place}")), "{text}\n{shown}");
        let line: usize = place.split(':').next().unwrap().parse().unwrap();
        let written = text.replace('\t', "  ");
        assert_eq!(
            lines.nth(1),
            Some(&*format!("{line} | {}", written.lines().nth(line - 1).unwrap())),
            "{shown}"
        );
        let under = lines.next().unwrap();
        if !label.is_empty() {
            assert_eq!(under.trim_start_matches([' ', '|']), *label, "{text}\n{shown}");
        }
        assert!(note.is_empty() || shown.contains(&format!("  = {note}\n")), "{text}\n{shown}");
        let same = shown.lines().filter(|line| line.starts_with("error: ")).count();
        assert_eq!(same, 2, "one mistake, one error and the total: {text}\n{shown}");
    }
}

#[test]
fn all_mistakes_are_told_at_once_in_the_order_of_the_file() {
    let text = "\
dispatcher: { queue_size: x, batch_size: -1, flow_control: { enabled: 1, target: 5s } }
sources:
  a: { type: file, include: [1, 'a[', ok], max_line: 5s, labels: [x] }
  b: { typ: stdin, strategy: blok }
pipelines:
  p: [ pars, { parse: xml }, { set: x } ]
sinks:
  s: { type: console, format: jsn, concurrency: 0, retry: { jitter: 1 } }
affinity: { intake: [9], workers: [8] }
";
    let report = parse(text).unwrap_err();
    let places: Vec<(usize, usize)> = report
        .problems()
        .iter()
        .map(|each| Report::position(text, each.span.clone().unwrap().start))
        .collect();
    let lines: Vec<usize> = places.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [1, 1, 1, 1, 3, 3, 3, 3, 4, 4, 6, 6, 6, 8, 8, 8, 9, 9], "{report}");
}

#[test]
fn a_config_in_a_deep_line_is_shown_in_the_promised_format() {
    let text = format!("{}sinks:\n  archive:\n    type: file\n    pathh: \"./data/out\"\n", "\n".repeat(13));
    let expected = "\
error: there is no source: `sources` is missing
error: `path` is missing in sink `archive`
  --> f.yaml:15:3
   |
15 |   archive:
   |   ^^^^^^^ needs `path`

error: unknown key `pathh` in sink `archive`
  --> f.yaml:17:5
   |
17 |     pathh: \"./data/out\"
   |     ^^^^^ did you mean `path`?
   = known keys: type, enabled, when, batch, concurrency, ordering, retry, buffer, circuit_breaker, fallback, fallback_after, path, format, open_files, fsync, max_files, rotate
";
    let shown = parse(&text).unwrap_err().to_string().replace("is missing\n\n", "is missing\n");
    assert!(shown.starts_with(expected), "{shown}");
}

#[test]
fn more_than_64_sinks_are_refused_at_the_65th() {
    let sinks: String = (0..65).map(|n| format!("  s{n}: {{ type: blackhole }}\n")).collect();
    let shown = refused(&format!("sinks:\n{sinks}"));
    assert!(shown.contains("error: 65 sinks; the most is 64\n  --> f.yaml:66:3\n"), "{shown}");
    let sinks: String = (0..64).map(|n| format!("  s{n}: {{ type: blackhole }}\n")).collect();
    assert_eq!(
        parse(&format!("sources: {{ in: {{ type: stdin }} }}\nsinks:\n{sinks}")).unwrap().sinks.len(),
        64
    );
}

#[test]
fn the_built_in_example_loads() {
    let config = Config::example().unwrap();
    assert_eq!(config, Config { name: EXAMPLE_NAME.into(), ..parse_example(EXAMPLE) });
    let names: Vec<&str> = config.sources.iter().map(|source| source.name.as_str()).collect();
    assert_eq!(names, ["host", "syslog"]);
}

#[test]
fn the_example_still_loads_with_everything_in_it_switched_on_and_says_the_defaults() {
    let config = parse_example(&EXAMPLE.replace("#:", ""));
    let defaults = parse(SMALL).unwrap();
    assert!(config.dispatcher.rate_limit.is_some(), "by default there is none");
    let mut dispatcher = DispatcherConfig { rate_limit: None, ..config.dispatcher.clone() };
    assert_eq!(std::mem::take(&mut dispatcher.worker_pool.pools).0.len(), 1, "an example");
    assert_eq!(dispatcher, defaults.dispatcher);
    assert_eq!((&config.quotas, &config.affinity), (&defaults.quotas, &defaults.affinity));
    assert_eq!((config.sources.len(), config.pipelines.len(), config.sinks.len()), (8, 3, 5));
    let plain = parse_example(EXAMPLE);
    assert_eq!(config.sources[1], plain.sources[1], "the commented keys of syslog are the defaults");
    let mut lane = config.sinks[0].lane.clone();
    assert_eq!(lane.fallback.take().as_deref(), Some("console"), "an example");
    assert_eq!(lane, plain.sinks[0].lane);
    let SinkKind::File(mut file) = config.sinks[0].kind.clone() else { panic!("archive is a file sink") };
    assert!(file.rotate.take().is_some(), "an example: without the section nothing is rotated");
    assert_eq!(SinkKind::File(file), plain.sinks[0].kind);
}

fn parse_example(text: &str) -> Config {
    Config::parse("example", text, &|_| None).unwrap_or_else(|report| panic!("{report}"))
}

#[test]
fn absent_keys_have_the_defaults_of_the_manual() {
    let config = parse("sources: { a: { type: file, include: [x] }, in: { type: stdin }, s: { type: syslog, listen: ['udp://[::]:0'] } }\nsinks: { out: { type: file, path: x } }").unwrap();
    let dispatcher = &config.dispatcher;
    assert_eq!(
        (config.data_dir.to_str(), config.admin.listen),
        (Some("./data"), Some(([127, 0, 0, 1], 8401).into()))
    );
    assert_eq!(
        (dispatcher.queue_size, dispatcher.batch_size, dispatcher.worker_pool.queue_size),
        (10_000, 100, 1000)
    );
    assert_eq!((dispatcher.batch_timeout, dispatcher.drain_timeout), (secs(5), secs(30)));
    let retry = RetryConfig {
        backoff: secs(1),
        backoff_max: secs(60),
        multiplier: 2.0,
        jitter: Jitter::Full,
        max_retries: Some(3),
        auth_grace: secs(3600),
    };
    assert_eq!((dispatcher.retry(), config.sinks[0].lane.retry), (retry, retry));
    let breaker = BreakerConfig {
        enabled: true,
        failure_threshold: 5,
        success_threshold: 3,
        timeout: secs(30),
        half_open_max_calls: 1,
    };
    assert_eq!((dispatcher.circuit_breaker, config.sinks[0].lane.circuit_breaker), (breaker, breaker));
    let lane = &config.sinks[0].lane;
    assert_eq!((&lane.fallback, lane.fallback_after), (&None, secs(60)));
    let pressure = dispatcher.backpressure;
    assert_eq!((pressure.enabled, pressure.high_watermark, pressure.low_watermark), (true, 0.8, 0.6));
    assert_eq!((pressure.strategy, config.sources[0].strategy), (Strategy::Block, Strategy::Block));
    let flow = dispatcher.flow_control;
    let millis = Duration::from_millis;
    assert_eq!((flow.enabled, flow.target_latency, flow.adjustment_factor), (true, millis(100), 0.1));
    let SourceKind::File(file) = &config.sources[0].kind else { panic!() };
    assert_eq!((file.read_from, file.max_line, file.open_files), (ReadFrom::Beginning, 256 << 10, 1024));
    assert_eq!(
        (file.partial_timeout, file.rescan, file.rotate_wait, file.ignore_older),
        (secs(5), secs(5), secs(5), None)
    );
    let SourceKind::Syslog(syslog) = &config.sources[2].kind else { panic!() };
    assert_eq!(
        (syslog.max_connections, syslog.max_connections_per_address, syslog.idle_timeout),
        (1024, 256, secs(600))
    );
    assert_eq!(
        (syslog.max_message, syslog.partial_memory, syslog.receive_buffer),
        (64 << 10, 16 << 20, 4 << 20)
    );
    assert_eq!(syslog.timezone.name, "local");
    let SinkKind::File(file) = &config.sinks[0].kind else { panic!() };
    assert_eq!((file.format, file.open_files, file.fsync), (Format::Raw, 128, Fsync::Checkpoint));
    let lane = &config.sinks[0].lane;
    assert_eq!(
        (lane.concurrency, lane.ordering, lane.batch.size),
        (Concurrency::Set(1), Ordering::Stream, 100)
    );
    assert!(config.sinks[0].enabled && config.sinks[0].when.is_none());
}

fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn written_keys_win_and_sinks_override_what_the_dispatcher_says() {
    let text = "
dispatcher: { batch_size: 500, retry_backoff: 2s, max_retries: unlimited, circuit_breaker: { timeout: 7s }, backpressure: { strategy: drop_newest } }
sources:
  z: { type: stdin, labels: { job: app, env: prod }, pipeline: p, strategy: block }
  a: { type: file, include: ['/x/*.log'], ignore_older: 7d }
pipelines:
  p:
    - parse: json
    - discard: 'level == \"debug\"'
    - set: { env: prod, n: 5, share: 0.5, ok: true }
sinks:
  slow: { type: file, path: out, batch: { max_entries: 50, max_bytes: 64KiB }, concurrency: 4, ordering: none, retry: { backoff_max: 5s, jitter: none, auth_grace: 1m }, circuit_breaker: { failure_threshold: 9 }, fallback: other, fallback_after: 3s }
  other: { type: blackhole, retry: { max_retries: 0 } }
";
    let config = parse(text).unwrap();
    let names: Vec<&str> = config.sources.iter().map(|source| source.name.as_str()).collect();
    assert_eq!(names, ["z", "a"], "the order of the file");
    assert_eq!(
        (config.sources[0].strategy, config.sources[1].strategy),
        (Strategy::Block, Strategy::DropNewest)
    );
    assert_eq!(
        config.sources[0].labels,
        Pairs(vec![("job".into(), "app".into()), ("env".into(), "prod".into())])
    );
    assert_eq!(config.pipeline("p").map(|pipeline| pipeline.steps.len()), Some(3));
    let lane = &config.sinks[0].lane;
    assert_eq!((lane.batch.size, lane.batch.max_entries, lane.batch.max_bytes), (50, 50, 65_536));
    let retry = RetryConfig {
        backoff: secs(2),
        backoff_max: secs(5),
        multiplier: 2.0,
        jitter: Jitter::None,
        max_retries: None,
        auth_grace: secs(60),
    };
    assert_eq!((lane.retry, lane.concurrency, lane.ordering), (retry, Concurrency::Set(4), Ordering::None));
    let breaker = BreakerConfig { failure_threshold: 9, timeout: secs(7), ..BreakerConfig::default() };
    assert_eq!(lane.circuit_breaker, breaker);
    assert_eq!((lane.fallback.as_deref(), lane.fallback_after), (Some("other"), secs(3)));
    assert_eq!(config.sinks[1].lane.retry.max_retries, Some(0));
}

#[test]
fn without_backpressure_sources_block_unless_they_say_themselves_what_they_do() {
    let strategies = |enabled: bool| {
        let text = format!(
            "dispatcher: {{ backpressure: {{ enabled: {enabled}, strategy: drop_newest }} }}\n\
             sources: {{ a: {{ type: stdin }}, b: {{ type: file, include: ['/x'], strategy: drop_oldest }} }}\n\
             sinks: {{ out: {{ type: blackhole }} }}"
        );
        parse(&text).unwrap().sources.into_iter().map(|source| source.strategy).collect::<Vec<_>>()
    };
    assert_eq!(strategies(true), [Strategy::DropNewest, Strategy::DropOldest]);
    assert_eq!(strategies(false), [Strategy::Block, Strategy::DropOldest]);
}

#[test]
fn variables_are_replaced_after_parsing_and_a_whole_one_takes_its_type() {
    let config =
        parse(&format!("dispatcher:\n  queue_size: ${{SIZE}}\n  batch_timeout: ${{WAIT:-250ms}}\n{SMALL}"))
            .unwrap();
    assert_eq!(
        (config.dispatcher.queue_size, config.dispatcher.batch_timeout),
        (100, Duration::from_millis(250))
    );
    let config = parse("sources: { in: { type: stdin, labels: { a: '${SIZE}', b: \"${LINES}\", c: 'x$$${NAME}' } } }\nsinks: { out: { type: console } }").unwrap();
    let values: Vec<&str> = config.sources[0].labels.0.iter().map(|(_, value)| value.as_str()).collect();
    assert_eq!(values, ["100", "a\nsinks: \"x\"", "x$from the environment"], "quoted ones stay text");
    let when =
        parse("sources: { in: { type: stdin } }\nsinks:\n  out:\n    type: console\n    when: ${NO:-}\n")
            .unwrap();
    assert_eq!(when.sinks[0].when, None, "replaced by nothing is as if not written");
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_are_no_mistake() {
    assert!(parse(&format!("\u{feff}{}", SMALL.replace('\n', "\r\n"))).is_ok());
}

#[test]
fn a_file_that_cannot_be_read_is_said_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let shown = Config::load(&directory.path().join("none.yaml")).unwrap_err().to_string();
    assert!(shown.starts_with("error: cannot read `") && shown.contains("No such file"), "{shown}");
    assert_eq!(shown.lines().count(), 1);
    let binary = directory.path().join("binary.yaml");
    std::fs::write(&binary, b"a: \xff").unwrap();
    assert!(Config::load(&binary).unwrap_err().to_string().contains("is not UTF-8 text: byte 3"));
    let huge = directory.path().join("huge.yaml");
    std::fs::write(&huge, vec![b'#'; 2 << 20]).unwrap();
    assert!(Config::load(&huge).unwrap_err().to_string().contains("the most a config may have is 1MiB"));
    let good = directory.path().join("good.yaml");
    std::fs::write(&good, SMALL).unwrap();
    assert!(Config::load(&good).is_ok());
}

#[test]
fn check_prints_every_value_and_where_it_comes_from() {
    let text = "
dispatcher: { retry_backoff: 2s, worker_count: 3 }
affinity: { senders: [1] }
sources:
  a: { type: file, include: [x], labels: { job: app } }
  b: { type: syslog, listen: ['udp://[::1]:5'], strategy: drop_oldest }
pipelines:
  p: [ { parse: json }, { discard: 'a == 1' }, { set: { env: prod } } ]
sinks:
  all: { type: file, path: 'out/{date}.log' }
  some: { type: console, when: 'job == 1', retry: { jitter: none } }
  off: { type: blackhole, enabled: false }
";
    let plan = describe::plan(&parse(text).unwrap());
    let expected = [
        "dispatcher.queue_size                      10000                        (default)",
        "dispatcher.worker_count                    3                            (set)",
        "dispatcher.retry_backoff                   2s                           (set)",
        "quotas.max_memory                          256MiB                       (auto)",
        "affinity.workers                           any                          (auto)",
        "affinity.senders                           [1]                          (set)",
        "labels.job                                 app                          (set)",
        "max_line                                   256KiB                       (default)",
        "strategy                                   drop_oldest                  (set)",
        "retry.backoff                              2s                           (from dispatcher)",
        "retry.jitter                               none                         (set)",
        "pipeline p (used by no source: it does nothing; workers of pool general)",
        "dispatcher.worker_pool.min_workers         3                            (auto)",
        "dispatcher.worker_pool.max_workers         3                            (auto)",
        "1. parse: json",
        "3. set: { env: prod }",
        "workers                                    3                            cores any",
        "sink all, when full, stops: a",
        "sink some, when full, stops those of whose entries some match `job == 1`: a",
        "source b is never stopped: it loses the oldest of its own queued entries, counted",
    ];
    for part in expected {
        assert!(plan.lines().any(|line| line.trim() == part), "{part}\n{plan}");
    }
    assert!(!plan.contains("sink off, when full"));
}

#[test]
fn pipelines_are_for_the_workers_of_the_pool_they_name_or_that_can_what_they_need() {
    let text = "
dispatcher:
  worker_pool:
    min_workers: 2
    max_workers: 5
    pools:
      heavy: { workers: { min: 1, max: 3 }, cores: [1], capabilities: [enrichment, geo] }
      light: { capabilities: [filter, geo] }
sources:
  a: { type: stdin, pipeline: named }
sinks:
  out: { type: blackhole }
pipelines:
  plain: [ { parse: json } ]
  bare: { steps: [ { parse: json } ] }
  named: { pool: heavy, steps: [ { parse: json }, { discard: 'a == 1' } ] }
  first: { needs: [geo], steps: [] }
  both: { needs: [geo, filter], steps: [] }
  back: { pool: general, steps: [] }
  any: { needs: [general], steps: [] }
";
    let config = parse(text).unwrap();
    let pools = &config.decided.pools;
    let mut assigned = Vec::new();
    for PipelineConfig { name, workers, steps } in &config.pipelines {
        let at = workers.pool_among(pools).unwrap();
        assigned.push((name.as_str(), pools[at].name.as_str(), steps.len()));
    }
    let expected = [
        ("plain", "general", 1),
        ("bare", "general", 1),
        ("named", "heavy", 2),
        ("first", "heavy", 0),
        ("both", "light", 0),
        ("back", "general", 0),
        ("any", "general", 0),
    ];
    assert_eq!(assigned, expected);
    assert_eq!(config.pool_of(&config.sources[0]), 1);
    // The quotas count as many as there may be.
    let planned = threads::planned(&config);
    let workers = planned.iter().filter(|one| one.name.starts_with("worker"));
    let workers: Vec<_> = workers.map(|one| (one.name.as_str(), one.count, &*one.cores)).collect();
    let expected: [(_, _, &[usize]); 3] =
        [("worker-N", 5, &[]), ("worker-heavy-N", 3, &[1]), ("worker-light-N", 1, &[])];
    assert_eq!(workers, expected);
    let plan = describe::plan(&config);
    for part in [
        "pipeline named (used by a; workers of pool heavy)",
        "dispatcher.worker_pool.pools.heavy.workers.max 3                            (set)",
        "workers                                    5                            cores any",
        "workers of heavy                           3                            cores [1]",
        "workers of light                           1                            cores any",
    ] {
        assert!(plan.lines().any(|line| line.trim() == part), "{part}\n{plan}");
    }
}

#[test]
fn workers_and_pools_that_do_not_fit_are_refused_with_what_would() {
    let pool = |pool: &str| format!("dispatcher: {{ worker_pool: {{ {pool} }} }}\n{SMALL}");
    let pipeline = |keys: &str| {
        let pools = "pools: { heavy: { capabilities: [geo] }, light: { capabilities: [filter] } }";
        pool(pools) + &format!("\npipelines: {{ p: {{ {keys} }} }}\n")
    };
    let count = |count: usize, pool: &str| {
        format!("dispatcher: {{ worker_count: {count}, worker_pool: {{ {pool} }} }}\n{SMALL}")
    };
    let cases: &[(String, &[&str])] = &[
        (
            pipeline("pool: hevy, steps: []"),
            &[
                "no pool `hevy` of workers for pipeline `p`",
                "did you mean `heavy`?",
                "known pools: general, heavy, light",
            ],
        ),
        (
            pipeline("needs: [geos], steps: []"),
            &[
                "no pool of workers can `geos`, which pipeline `p` needs",
                "did you mean `geo`?",
                "heavy (geo), light (filter)",
            ],
        ),
        (
            pipeline("needs: [geo, filter], steps: []"),
            &["can all of `geo`, `filter`", "each is in another pool"],
        ),
        (
            pipeline("pool: heavy, needs: [geo], steps: []"),
            &["has a `pool` and `needs`", "expected one of them"],
        ),
        (pipeline("pool: heavy"), &["pipeline `p` cannot be a map", "or a map with `steps`"]),
        (
            pipeline("pol: heavy, steps: []"),
            &["unknown key `pol` in pipeline `p`", "known keys: steps, pool, needs"],
        ),
        (pipeline("steps: [ { discrd: x } ]"), &["unknown step `discrd` in pipeline `p`"]),
        (pipeline("steps: [ { discard: 'a ?' } ]"), &["cannot read `discard` in step 1 of pipeline `p`"]),
        (
            pool("pools: { general: {} }"),
            &["`general` cannot be the name of one of the pools", "`worker_count`"],
        ),
        (
            pool("pools: { 'a b': {} }"),
            &["`a b` cannot be the name of a pool", "expected 1 to 64 of the letters"],
        ),
        (
            pool("pools: { p: { workers: 0 } }"),
            &["`workers` in `dispatcher.worker_pool.pools.p` cannot be `0`"],
        ),
        (
            pool("pools: { p: { workers: { min: auto, max: 2 } } }"),
            &["`min` in `dispatcher.worker_pool.pools.p.workers` cannot be `auto`", "from 1 to 256"],
        ),
        (
            pool("pools: { p: { workers: { min: 3, max: 2 } } }"),
            &["`min` of the workers of pool `p` is 3 and `max` 2"],
        ),
        (pool("pools: { p: { cores: [9] } }"), &["there is no core 9 for pool `p`", "0, 1"]),
        (pool("pools: { p: { capabilities: ['x y'] } }"), &["pool `p` cannot be able to `x y`"]),
        (pool("pools: { p: { wrkers: 1 } }"), &["unknown key `wrkers`", "did you mean `workers`?"]),
        (
            pool("min_workers: 3, max_workers: 2"),
            &["`min_workers` in `dispatcher.worker_pool` is 3 and `max_workers` 2"],
        ),
        (
            count(5, "max_workers: 4"),
            &["`worker_count` in `dispatcher` is 5, more than `max_workers`", "expected 4 or fewer"],
        ),
        (
            count(1, "min_workers: 2"),
            &["`worker_count` in `dispatcher` is 1, fewer than `min_workers`", "expected 2 or more"],
        ),
        (pool("idle_timeout: 0s"), &["`idle_timeout` in `dispatcher.worker_pool` cannot be `0s`"]),
    ];
    for (text, parts) in cases {
        let report = parse(text).unwrap_err().to_string();
        for part in *parts {
            assert!(report.contains(part), "{part} in\n{report}");
        }
    }
}

/// Every key any struct knows stands in the plan: what cannot be seen by `check` cannot be trusted.
#[test]
fn every_known_key_stands_in_the_plan_and_in_the_example() {
    use de::known_keys;
    let plan = describe::plan(&parse_example(&EXAMPLE.replace("#:", "")));
    let keys = [
        known_keys::<keys::GeneralConfig>(),
        known_keys::<DispatcherConfig>(),
        known_keys::<crate::lane::config::BackpressureConfig>(),
        known_keys::<crate::lane::config::FlowControlConfig>(),
        known_keys::<WorkerPoolConfig>(),
        known_keys::<RateLimitConfig>(),
        known_keys::<AdminConfig>(),
        known_keys::<QuotasConfig>(),
        known_keys::<AffinityConfig>(),
        known_keys::<crate::sources::config::SourceKeys>(),
        known_keys::<crate::sources::file::config::FileSourceConfig>(),
        known_keys::<crate::sources::syslog::config::SyslogSourceConfig>(),
        known_keys::<crate::sources::http::config::HttpSourceConfig>(),
        known_keys::<crate::sources::socket::config::SocketSourceConfig>(),
        known_keys::<crate::tls::ServerTlsKeys>(),
        known_keys::<crate::sources::config::StdinSourceConfig>(),
        known_keys::<SinkKeys>(),
        known_keys::<crate::sinks::config::BatchKeys>(),
        known_keys::<RetryKeys>(),
        known_keys::<BreakerConfig>(),
        known_keys::<crate::sinks::config::BreakerKeys>(),
        known_keys::<crate::sinks::config::FileSinkConfig>(),
        known_keys::<crate::sinks::config::ConsoleSinkConfig>(),
    ];
    for key in keys.concat() {
        assert!(plan.contains(key), "{key} in the plan\n{plan}");
        assert!(EXAMPLE.contains(&format!("{key}:")), "{key} in the example");
    }
}

#[test]
fn a_fallback_that_cannot_help_is_refused_at_its_place() {
    let refused = |sinks: &str| {
        let text = format!("sources: {{ in: {{ type: stdin }} }}\nsinks:\n{sinks}\n");
        Config::parse("f.yaml", &text, &|_| None).expect_err(sinks).to_string()
    };
    for (sinks, words) in [
        (
            "  a: { type: blackhole, fallback: bb }\n  b: { type: console }",
            &["there is no sink `bb` for the `fallback` of sink `a`", "did you mean `b`?"][..],
        ),
        ("  a: { type: blackhole, fallback: a }", &["sink `a` is its own `fallback`"]),
        (
            "  a: { type: blackhole, fallback: b }\n  b: { type: console, enabled: false }",
            &["the `fallback` of sink `a` is not enabled"],
        ),
        (
            "  a: { type: blackhole, fallback: b }\n  b: { type: console, fallback: a }",
            &["the `fallback` of sink `a` leads back to it", "the `fallback` of sink `b` leads back"],
        ),
        (
            "  a: { type: blackhole, fallback: b, circuit_breaker: { enabled: false } }\n  b: { type: console }",
            &["`fallback` of sink `a` has no effect: its `circuit_breaker` is off"],
        ),
        (
            "  a: { type: blackhole, fallback_after: 1s }",
            &["`fallback_after` has no effect without `fallback`"],
        ),
        ("  a: { type: blackhole, retry: { max_retries: some } }", &["`unlimited` or a whole number"]),
    ] {
        let report = refused(sinks);
        words.iter().for_each(|words| assert!(report.contains(words), "{words} in\n{report}"));
    }
}

#[test]
fn pipelines_on_the_pages_about_them_are_understood() {
    let pages = [
        include_str!("../../docs/steps.md"),
        include_str!("../../docs/language.md"),
        include_str!("../../docs/enrich.md"),
    ];
    let mut count = 0;
    for config in pages.iter().flat_map(|page| page.split("```yaml\n").skip(1)) {
        let config = config.split("```").next().unwrap();
        let rest = if config.contains("sources:") {
            ""
        } else {
            "sources: { in: { type: stdin } }\nsinks: { out: { type: console } }\n"
        };
        Config::parse("page", &format!("{config}{rest}"), &|_| None)
            .unwrap_or_else(|report| panic!("{config}\n{report}"));
        count += 1;
    }
    assert!(count >= 5, "{count}");
}

#[test]
fn steps_that_cannot_work_are_refused_at_their_place() {
    let refused = |steps: &str| {
        let text = format!(
            "pipelines:\n  p:\n{steps}\nsources: {{ in: {{ type: stdin }} }}\nsinks: {{ out: {{ type: console }} }}\n"
        );
        Config::parse("f.yaml", &text, &|_| None).expect_err(steps).to_string()
    };
    let names: String = (0..65).map(|n| format!("a{n}: b{n}, ")).collect();
    for (steps, words) in [
        (
            "    - discard: 'level = 5'",
            &["`discard` in step 1 of pipeline `p`", "^ unknown operator `=`: did you mean `==`?"][..],
        ),
        ("    - keep: 'label.app == 5'", &["^^^^^ did you mean `labels`?"]),
        (
            "    - parse: { format: json, on_error: drop }",
            &["cannot be `drop`", "known values: pass, discard, dead_letter"],
        ),
        ("    - parse: { fromat: json }", &["unknown key `fromat`", "did you mean `format`?"]),
        ("    - parse: { field: x }", &["`format` is missing"]),
        (
            "    - redact: [emial]",
            &["did you mean `email`?", "known values: email, ipv4, credit_card, secret"],
        ),
        ("    - dedupe: { fields: [a, labels] }", &["say which label", "^^"]),
        ("    - dedupe: { fields: [] }", &["at least one name"]),
        ("    - throttle: { per: 'a b', rate: 1 }", &["one name is expected", "^"]),
        ("    - throttle: { per: a }", &["`rate`"]),
        ("    - metric: { name: a-b, type: counter }", &["cannot be the name of a metric"]),
        ("    - metric: { name: dispatcher_x, type: counter }", &["Ringmain's own"]),
        ("    - metric: { name: a, type: gauge }", &["a gauge needs a `value`"]),
        ("    - metric: { name: a, type: gauge, value: 'b c' }", &["one name is expected", "^"]),
        ("    - metric: { name: a, type: counter, labels: { b: labels } }", &["say which label", "^"]),
        ("    - metric: { name: a, type: counter, labels: { __b: c } }", &["cannot be the name of a label"]),
        (
            "    - metric: { name: a, type: histogram, value: b, buckets: [1] }\n    - metric: { name: a_sum, type: counter }",
            &["two metrics `a_sum`", "step 1 of pipeline"],
        ),
        ("    - throttle: { rate: 0 }", &["from 1 to"]),
        ("    - redact: { fields: [x] }", &["at least one of `patterns` or `regex`"]),
        ("    - redact: []", &["at least one of"]),
        ("    - redact: { regex: ['(x'] }", &["unclosed group", "^^"]),
        (
            "    - set: { a: '= b +' }",
            &["`a` in `set`, step 1 of pipeline `p`", "ends where a field is expected"],
        ),
        ("    - set: { fields: { a: '= lowr(b)' }, on_error: discard }", &["^^^^ unknown function `lowr`"]),
        ("    - set: { fields: { a: 1 }, on_eror: discard }", &["unknown key `on_eror`"]),
        ("    - sample: 0", &["a share above 0 and at most 1"]),
        ("    - sample: { rate: 0.5, key: 'a b' }", &["an operator such as `+` is missing"]),
        ("    - sample: { rate: 0.5, except: 'a' }", &["alone is no condition"]),
        ("    - route: { x: 'a = 1', else: y }", &["did you mean `==`?"]),
        (&format!("    - route: {{ {names} }}"), &["`route` in pipeline `p` has 65 names; the most is 64"]),
        ("    - validate: { fields: { 'a b': { required: true } } }", &["the rules of `a b` in step 1"]),
        ("    - validate: { fields: { a: { pattern: '(' } } }", &["unclosed group"]),
        ("    - validate: { fields: { a: { type: int } } }", &["did you mean `integer`?"]),
        ("    - enrich: { table: x.csv }", &["a `table` needs a `key`"]),
        ("    - enrich: { host: { a: hostnam } }", &["did you mean `hostname`?"]),
        (&format!("    - rename: {{ {names} }}"), &["has 65 names; the most is 64"]),
        (&"    - set: { a: 1 }\n".repeat(65), &["has 65 steps; the most is 64"]),
    ] {
        let said = refused(steps);
        for word in words {
            assert!(said.contains(word), "{word} in:\n{said}");
        }
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        let _ = parse(&text);
    }

    #[test]
    fn no_text_made_of_yaml_pieces_makes_it_panic(pieces in proptest::collection::vec(piece(), 0..40)) {
        if let Err(report) = parse(&pieces.concat()) {
            prop_assert!(!report.problems().is_empty());
            let _ = report.render(true);
        }
    }

    #[test]
    fn an_example_with_bytes_changed_is_read_or_refused(at in 0..EXAMPLE.len(), insert in "[\\PC\\n]{0,3}", cut in 0usize..8) {
        let text = EXAMPLE.replace("#:", "");
        let start = text.floor_char_boundary(at.min(text.len()));
        let end = text.ceil_char_boundary((start + cut).min(text.len()));
        let changed = format!("{}{insert}{}", &text[..start], &text[end..]);
        match parse(&changed) {
            Ok(config) => prop_assert!(!describe::plan(&config).is_empty()),
            Err(report) => prop_assert!(report.to_string().starts_with("error: ")),
        }
    }
}

fn piece() -> impl proptest::strategy::Strategy<Value = &'static str> {
    proptest::sample::select(vec![
        "sources",
        "sinks",
        "pipelines",
        "dispatcher",
        "affinity",
        ":",
        ": ",
        "\n",
        "\n  ",
        "\n    ",
        "- ",
        "{",
        "}",
        "[",
        "]",
        ", ",
        "\"",
        "'",
        "${SIZE}",
        "${",
        "$$",
        "&a ",
        "*a",
        "!t ",
        "|\n",
        "type",
        "file",
        "stdin",
        "console",
        "include",
        "labels",
        "batch",
        "1",
        "5s",
        "~",
        "ä",
        "\t",
        "#",
        "---\n",
        "? ",
        "<<",
        "workers",
        "set",
        "parse",
        "\r\n",
        "\u{feff}",
        "\0",
    ])
}
