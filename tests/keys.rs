//! Every key of the config has an effect that can be seen: two values, two behaviours.
//!
//! [`SHOWN`] says of each key in `config.example.yaml` where. Most are shown here, from outside: in what comes out, in
//! `/stats`, in the log, or in what the system says of the process. What cannot be seen from outside without waiting for
//! luck is shown by a test beside its code.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test says with them what it relies on")]

#[path = "keys/bodies.rs"]
mod bodies;
#[path = "keys/cases.rs"]
mod cases;
#[path = "keys/docker.rs"]
mod docker;
#[path = "keys/files.rs"]
mod files;
#[path = "keys/http.rs"]
mod http;
#[path = "keys/net.rs"]
mod net;
#[path = "keys/ordered.rs"]
mod ordered;
#[path = "keys/pools.rs"]
mod pools;
#[path = "keys/reload.rs"]
mod reload;
#[path = "keys/sinks.rs"]
mod sinks;
#[path = "keys/steps.rs"]
mod steps;
mod support;

use serde_json::Value;
use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::time::{Duration, SystemTime};
use support::*;

/// Each key, and the test that shows it: here, or in the file before the `:`.
const SHOWN: &[(&str, &str)] = &[
    ("data_dir", "checkpoints_and_the_lock_are_in_the_data_dir"),
    ("admin.listen", "the_way_to_look_in_is_where_it_was_asked_for_or_nowhere"),
    ("dispatcher.queue_size", "the_ring_holds_as_much_and_its_blocks_are_as_small_as_the_queue_size_says"),
    ("dispatcher.worker_count", "threads_are_as_many_and_on_the_cores_they_were_asked_for"),
    ("dispatcher.batch_size", "without_flow_control_batches_have_their_size_or_their_age"),
    ("dispatcher.batch_timeout", "without_flow_control_batches_have_their_size_or_their_age"),
    (
        "dispatcher.max_retries",
        "tests/delivery.rs:answers_about_a_batch_count_against_max_retries_wherever_that_is_written",
    ),
    (
        "dispatcher.auth_grace",
        "tests/delivery.rs:who_is_not_let_in_waits_with_an_alarm_and_loses_nothing_before_the_grace_is_over",
    ),
    (
        "dispatcher.circuit_breaker.enabled",
        "tests/delivery.rs:a_breaker_that_is_off_never_opens_and_a_sink_s_own_threshold_counts",
    ),
    (
        "dispatcher.circuit_breaker.failure_threshold",
        "tests/delivery.rs:a_breaker_that_is_off_never_opens_and_a_sink_s_own_threshold_counts",
    ),
    (
        "dispatcher.circuit_breaker.success_threshold",
        "tests/delivery.rs:a_breaker_is_open_for_its_timeout_and_closes_after_as_many_successes_as_it_was_told",
    ),
    (
        "dispatcher.circuit_breaker.timeout",
        "tests/delivery.rs:a_breaker_is_open_for_its_timeout_and_closes_after_as_many_successes_as_it_was_told",
    ),
    (
        "dispatcher.circuit_breaker.half_open_max_calls",
        "tests/delivery.rs:as_many_probes_are_out_at_once_as_the_half_open_max_calls_say",
    ),
    ("dispatcher.retry_backoff", "a_sink_that_fails_is_tried_again_after_the_waits_it_was_given"),
    ("dispatcher.retry_backoff_max", "a_sink_that_fails_is_tried_again_after_the_waits_of_the_dispatcher"),
    ("dispatcher.retry_multiplier", "a_sink_that_fails_is_tried_again_after_the_waits_of_the_dispatcher"),
    ("dispatcher.retry_jitter", "a_sink_that_fails_is_tried_again_after_the_waits_it_was_given"),
    ("dispatcher.drain_timeout", "a_stop_waits_for_a_slow_sink_as_long_as_the_drain_timeout_says"),
    ("dispatcher.backpressure.enabled", "watermarks_are_where_they_were_put_or_nowhere"),
    ("dispatcher.backpressure.high_watermark", "watermarks_are_where_they_were_put_or_nowhere"),
    ("dispatcher.backpressure.low_watermark", "a_full_lane_lets_its_sources_go_on_at_the_low_watermark"),
    ("dispatcher.backpressure.strategy", "a_full_sink_stops_some_sources_and_costs_others_as_they_were_told"),
    ("dispatcher.flow_control.enabled", "without_flow_control_batches_have_their_size_or_their_age"),
    ("dispatcher.flow_control.target_latency", "a_request_that_takes_too_long_makes_the_next_batch_smaller"),
    (
        "dispatcher.flow_control.adjustment_factor",
        "a_request_that_takes_too_long_makes_the_next_batch_smaller",
    ),
    (
        "dispatcher.rate_limit.enabled",
        "tests/rates.rs:the_limit_of_all_is_shared_and_switched_off_by_one_word",
    ),
    (
        "dispatcher.rate_limit.entries_per_second",
        "tests/rates.rs:a_paced_source_reads_its_burst_and_waits_and_a_reload_lets_it_go_on",
    ),
    ("dispatcher.rate_limit.burst", "tests/rates.rs:the_burst_is_as_large_as_it_was_written"),
    ("dispatcher.rate_limit.mode", "tests/rates.rs:what_comes_too_fast_is_dropped_and_counted_to_the_entry"),
    (
        "dispatcher.rate_limit.per",
        "tests/rates.rs:each_label_value_has_its_own_and_those_beyond_max_keys_share_one",
    ),
    (
        "dispatcher.rate_limit.max_keys",
        "tests/rates.rs:each_label_value_has_its_own_and_those_beyond_max_keys_share_one",
    ),
    (
        "sources.file.rate_limit.entries_per_second",
        "tests/rates.rs:a_paced_source_reads_its_burst_and_waits_and_a_reload_lets_it_go_on",
    ),
    (
        "sources.file.rate_limit.mode",
        "tests/rates.rs:what_comes_too_fast_is_dropped_and_counted_to_the_entry",
    ),
    (
        "dispatcher.dlq.enabled",
        "tests/dlq.rs:without_a_queue_for_them_refused_entries_are_dropped_and_counted",
    ),
    ("dispatcher.dlq.max_size", "tests/dlq.rs:at_max_size_the_oldest_go_exactly_counted_and_health_says_so"),
    (
        "dispatcher.dlq.max_bytes",
        "tests/dlq.rs:beyond_max_bytes_the_oldest_go_and_the_rest_stays_within_them",
    ),
    (
        "dispatcher.dlq.retention_period",
        "tests/dlq.rs:letters_whose_time_is_over_go_by_themselves_and_others_stay",
    ),
    (
        "dispatcher.dlq.auto_retry",
        "tests/dlq.rs:what_may_pass_is_tried_again_by_itself_as_often_as_it_was_told",
    ),
    (
        "dispatcher.dlq.retry_interval",
        "tests/dlq.rs:what_may_pass_is_tried_again_by_itself_as_often_as_it_was_told",
    ),
    (
        "dispatcher.dlq.max_auto_retries",
        "tests/dlq.rs:what_may_pass_is_tried_again_by_itself_as_often_as_it_was_told",
    ),
    // Who runs ahead of whom is the scheduler's choice.
    (
        "dispatcher.worker_pool.queue_size",
        "src/engine/build.rs:the_blocks_of_a_source_run_ahead_as_far_as_the_worker_pool_queue_says",
    ),
    ("quotas.max_memory", "a_larger_budget_holds_more_before_sources_are_stopped"),
    (
        "quotas.max_threads",
        "tests/quotas.rs:a_config_with_more_threads_than_may_be_is_refused_with_a_table_and_a_reload_by_name",
    ),
    (
        "quotas.max_fds",
        "tests/quotas.rs:within_its_descriptors_connections_wait_files_take_turns_and_checkpoints_are_written",
    ),
    (
        "quotas.cpu_limit",
        "tests/quotas.rs:cpu_keeps_within_its_limit_nothing_is_lost_and_a_reload_or_the_end_lift_it",
    ),
    ("affinity.intake", "threads_are_as_many_and_on_the_cores_they_were_asked_for"),
    ("affinity.readers", "threads_are_as_many_and_on_the_cores_they_were_asked_for"),
    ("affinity.workers", "threads_are_as_many_and_on_the_cores_they_were_asked_for"),
    ("affinity.senders", "threads_are_as_many_and_on_the_cores_they_were_asked_for"),
    ("sources.file.type", "sources_and_sinks_are_of_the_type_they_were_given"),
    ("sources.file.include", "files_are_chosen_by_globs_and_age_and_labelled"),
    ("sources.file.exclude", "files_are_chosen_by_globs_and_age_and_labelled"),
    ("sources.file.ignore_older", "files_are_chosen_by_globs_and_age_and_labelled"),
    ("sources.file.labels", "files_are_chosen_by_globs_and_age_and_labelled"),
    ("sources.file.pipeline", "files_are_chosen_by_globs_and_age_and_labelled"),
    ("sources.file.read_from", "lines_are_read_from_where_cut_where_and_waited_for_as_long_as_asked"),
    ("sources.file.max_line", "lines_are_read_from_where_cut_where_and_waited_for_as_long_as_asked"),
    ("sources.file.partial_timeout", "lines_are_read_from_where_cut_where_and_waited_for_as_long_as_asked"),
    ("sources.file.rescan", "what_the_system_does_not_tell_is_found_by_the_rescan"),
    ("sources.file.rotate_wait", "a_file_moved_away_is_followed_as_long_as_asked"),
    ("sources.file.open_files", "no_more_files_are_open_than_allowed_on_either_side"),
    ("sources.file.strategy", "a_full_sink_stops_some_sources_and_costs_others_as_they_were_told"),
    ("sources.syslog.type", "sources_and_sinks_are_of_the_type_they_were_given"),
    ("sources.syslog.listen", "connections_and_messages_have_the_limits_they_were_given"),
    ("sources.syslog.max_connections", "connections_and_messages_have_the_limits_they_were_given"),
    (
        "sources.syslog.max_connections_per_address",
        "connections_and_messages_have_the_limits_they_were_given",
    ),
    ("sources.syslog.max_message", "connections_and_messages_have_the_limits_they_were_given"),
    ("sources.syslog.idle_timeout", "silent_connections_and_hoarders_of_memory_are_closed_as_asked"),
    ("sources.syslog.partial_memory", "silent_connections_and_hoarders_of_memory_are_closed_as_asked"),
    ("sources.syslog.receive_buffer", "a_burst_fits_the_receive_buffer_that_was_asked_for"),
    ("sources.syslog.timezone", "times_without_a_zone_are_of_the_zone_that_was_given"),
    ("sources.stdin.type", "sources_and_sinks_are_of_the_type_they_were_given"),
    ("sources.stdin.max_line", "the_longest_line_of_the_standard_input_is_as_long_as_asked"),
    ("pipelines.parse", "tests/features.rs:json_is_parsed_filtered_set_and_written_with_its_fields"),
    ("pipelines.discard", "tests/features.rs:json_is_parsed_filtered_set_and_written_with_its_fields"),
    ("pipelines.set", "tests/features.rs:json_is_parsed_filtered_set_and_written_with_its_fields"),
    ("sinks.file.type", "sources_and_sinks_are_of_the_type_they_were_given"),
    ("sinks.file.path", "entries_go_where_and_as_what_each_sink_was_told"),
    ("sinks.file.format", "entries_go_where_and_as_what_each_sink_was_told"),
    ("sinks.file.enabled", "entries_go_where_and_as_what_each_sink_was_told"),
    ("sinks.file.when", "entries_go_where_and_as_what_each_sink_was_told"),
    ("sinks.file.open_files", "no_more_files_are_open_than_allowed_on_either_side"),
    // What is on the disk and what only in memory does not show while the system lives.
    ("sinks.file.fsync", "src/sinks/file/tests.rs:fsync_always_syncs_before_the_batch_counts_and_none_never"),
    ("sinks.file.ordering", "as_many_batches_are_out_as_order_and_concurrency_allow"),
    ("sinks.file.concurrency", "as_many_batches_are_out_as_order_and_concurrency_allow"),
    ("sinks.file.batch.max_entries", "no_batch_is_larger_than_its_sink_allows"),
    ("sinks.file.batch.max_bytes", "no_batch_is_larger_than_its_sink_allows"),
    ("sinks.file.retry.backoff", "a_sink_that_fails_is_tried_again_after_the_waits_it_was_given"),
    ("sinks.file.retry.backoff_max", "a_sink_that_fails_is_tried_again_after_the_waits_it_was_given"),
    ("sinks.file.retry.multiplier", "a_sink_that_fails_is_tried_again_after_the_waits_it_was_given"),
    ("sinks.file.retry.jitter", "a_sink_that_fails_is_tried_again_after_the_waits_it_was_given"),
    (
        "sinks.file.buffer.type",
        "tests/buffer.rs:a_request_is_answered_once_it_is_on_disk_though_the_sink_is_dead_and_waits_where_there_is_no_disk",
    ),
    ("sinks.file.buffer.max_size", "tests/buffer.rs:a_full_buffer_drops_the_newest_and_counts_each"),
    ("sinks.file.buffer.when_full", "tests/buffer.rs:a_full_buffer_drops_the_oldest_and_counts_each"),
    (
        "sinks.file.buffer.fsync",
        "tests/buffer.rs:with_group_a_request_waits_for_company_on_its_way_to_disk_and_with_none_it_does_not",
    ),
    (
        "sinks.file.retry.max_retries",
        "tests/delivery.rs:answers_about_a_batch_count_against_max_retries_wherever_that_is_written",
    ),
    (
        "sinks.file.retry.auth_grace",
        "tests/delivery.rs:who_is_not_let_in_waits_with_an_alarm_and_loses_nothing_before_the_grace_is_over",
    ),
    (
        "sinks.file.circuit_breaker.enabled",
        "tests/delivery.rs:a_breaker_that_is_off_never_opens_and_a_sink_s_own_threshold_counts",
    ),
    (
        "sinks.file.circuit_breaker.failure_threshold",
        "tests/delivery.rs:a_breaker_that_is_off_never_opens_and_a_sink_s_own_threshold_counts",
    ),
    (
        "sinks.file.circuit_breaker.success_threshold",
        "tests/delivery.rs:a_breaker_is_open_for_its_timeout_and_closes_after_as_many_successes_as_it_was_told",
    ),
    (
        "sinks.file.circuit_breaker.timeout",
        "tests/delivery.rs:a_breaker_is_open_for_its_timeout_and_closes_after_as_many_successes_as_it_was_told",
    ),
    (
        "sinks.file.circuit_breaker.half_open_max_calls",
        "tests/delivery.rs:as_many_probes_are_out_at_once_as_the_half_open_max_calls_say",
    ),
    (
        "sinks.file.fallback",
        "tests/delivery.rs:another_sink_takes_over_while_one_is_out_of_reach_and_every_entry_is_counted_once",
    ),
    (
        "sinks.file.fallback_after",
        "tests/delivery.rs:another_sink_takes_over_only_after_the_time_it_was_given",
    ),
    ("sinks.console.type", "sources_and_sinks_are_of_the_type_they_were_given"),
    ("sinks.console.format", "the_console_shows_entries_in_the_format_it_was_given"),
    ("sinks.blackhole.type", "sources_and_sinks_are_of_the_type_they_were_given"),
    ("sinks.blackhole.enabled", "entries_go_where_and_as_what_each_sink_was_told"),
];

/// The same of the files beside this one.
const OTHERS: &[&[(&str, &str)]] = &[
    bodies::SHOWN,
    cases::SHOWN,
    docker::SHOWN,
    files::SHOWN,
    http::SHOWN,
    net::SHOWN,
    ordered::SHOWN,
    pools::SHOWN,
    reload::SHOWN,
    sinks::SHOWN,
    steps::SHOWN,
];

/// The keys of the example with everything in it switched on; names of sources and sinks are their types.
fn keys_of_the_example() -> BTreeSet<String> {
    let text = ringmain::config::EXAMPLE.replace("#:", "");
    let example: Value = serde_yaml::from_str(&text).expect("the example is YAML");
    let mut keys = BTreeSet::new();
    for (section, value) in example.as_object().expect("a map") {
        for (name, part) in value.as_object().into_iter().flatten() {
            match section.as_str() {
                "sources" | "sinks" => {
                    collect(
                        &format!("{section}.{}", part["type"].as_str().expect("a type")),
                        part,
                        &mut keys,
                    );
                }
                "pipelines" => {
                    for key in ["pool", "needs"].iter().filter(|key| part.get(**key).is_some()) {
                        keys.insert(format!("pipelines.{key}"));
                    }
                    let steps = part.get("steps").unwrap_or(part).as_array().expect("steps");
                    let steps = steps.iter().filter_map(Value::as_object);
                    for (verb, options) in steps.flatten() {
                        let path = format!("pipelines.{verb}");
                        keys.insert(path.clone());
                        match verb.as_str() {
                            // Their fields are the user's own names.
                            "set" if options["fields"].is_object() => {
                                keys.extend(["fields", "on_error"].map(|key| format!("{path}.{key}")));
                            }
                            "set" | "rename" | "route" => {}
                            "validate" => {
                                keys.insert(format!("{path}.on_error"));
                                let rules = options["fields"].as_object().into_iter().flatten();
                                rules.for_each(|(_, rules)| {
                                    collect(&format!("{path}.fields"), rules, &mut keys)
                                });
                            }
                            "enrich" => {
                                let own = options.as_object().into_iter().flatten();
                                keys.extend(own.map(|(key, _)| format!("{path}.{key}")));
                            }
                            _ if options.is_object() => collect(&path, options, &mut keys),
                            _ => {}
                        }
                    }
                }
                // Their names are the user's own.
                "tests" => {
                    collect("tests", part, &mut keys);
                    let expected = part["expect"].as_array().into_iter().flatten();
                    expected.for_each(|one| collect("tests.expect", one, &mut keys));
                }
                _ => collect(&format!("{section}.{name}"), part, &mut keys),
            }
        }
        if !value.is_object() {
            keys.insert(section.clone());
        }
    }
    keys
}

fn collect(path: &str, value: &Value, keys: &mut BTreeSet<String>) {
    match value.as_object() {
        // The user's own names, not keys of ours.
        Some(map) if ![".labels", ".headers", "expect.fields"].iter().any(|own| path.ends_with(own)) => {
            map.iter().for_each(|(key, value)| collect(&format!("{path}.{key}"), value, keys));
        }
        _ => drop(keys.insert(path.to_string())),
    }
}

#[test]
fn every_key_of_the_example_is_shown_to_have_an_effect_by_a_test_that_exists() {
    let all: Vec<(&str, &str)> = OTHERS.iter().copied().chain([SHOWN]).flatten().copied().collect();
    let shown: BTreeSet<String> = all.iter().map(|(key, _)| key.to_string()).collect();
    assert_eq!(shown.len(), all.len(), "each key once");
    let keys = keys_of_the_example();
    let missing: Vec<_> = keys.difference(&shown).collect();
    let gone: Vec<_> = shown.difference(&keys).collect();
    assert!(missing.is_empty() && gone.is_empty(), "without a test: {missing:?}; not a key: {gone:?}");
    for (key, place) in all {
        let (file, test) = place.split_once(':').unwrap_or(("tests/keys.rs", place));
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).expect(file);
        assert!(
            text.contains(&format!("#[test]\nfn {test}()"))
                || text.contains(&format!("    #[test]\n    fn {test}()")),
            "{key}: no test {test} in {file}"
        );
    }
}

// --- helpers

fn config(rest: &str) -> String {
    format!("data_dir: state\nadmin: {{ listen: \"127.0.0.1:0\" }}\n{rest}")
}

fn dir() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a directory")).expect("created");
    fs::write(path, text).expect("written");
}

fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new().append(true).open(path).expect("it is there");
    file.write_all(text.as_bytes()).expect("written");
}

fn lines_of(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap_or_default().lines().map(String::from).collect()
}

/// Numbered lines of `len` bytes, newline not counted.
fn lines(count: usize, len: usize) -> String {
    (0..count).map(|n| line("s", n as u64, len) + "\n").collect()
}

fn source(stats: &Value, name: &str, key: &str) -> u64 {
    number(row(stats, "sources", name), key)
}

fn sink(stats: &Value, name: &str, key: &str) -> u64 {
    number(row(stats, "sinks", name), key)
}

fn lane(stats: &Value, name: &str) -> Value {
    row(stats, "sinks", name)["lane"].clone()
}

/// Lets `time` pass for the instance: for what must *not* happen in it.
fn wait_uptime(instance: &mut Instance, time: Duration) -> Value {
    let uptime = |stats: &Value| stats["uptime_seconds"].as_f64().expect("a number");
    let end = uptime(&instance.stats()) + time.as_secs_f64();
    instance.wait_stats("time passes", |stats| uptime(stats) >= end)
}

/// An instance that reads `input` from its standard input, which stays open.
fn with_input(
    dir: &Path,
    rest: &str,
    input: &str,
) -> (Instance, std::thread::JoinHandle<std::process::ChildStdin>) {
    let mut instance = Instance::start(dir, &config(rest));
    let (mut stdin, input) = (instance.stdin(), input.to_string());
    let writer = std::thread::spawn(move || {
        // Ends with an error when the instance is killed while it does not read.
        let _ = stdin.write_all(input.as_bytes());
        stdin
    });
    (instance, writer)
}

/// How many descriptors of the instance point below `dir`.
fn open_below(instance: &Instance, dir: &Path) -> usize {
    let dir = dir.canonicalize().expect("it is there");
    let all = fs::read_dir(format!("/proc/{}/fd", instance.id())).expect("it runs");
    all.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .filter(|path| path.starts_with(&dir))
        .count()
}

// --- the whole house

const STDIN_TO_FILE: &str =
    "sources: { in: { type: stdin } }\nsinks: { out: { type: file, path: out/all.log } }\n";
/// A sink that never answers until its standard output is read.
const STDIN_TO_CONSOLE: &str =
    "sources: { in: { type: stdin } }\nsinks: { out: { type: console, format: raw } }\n";

#[test]
fn checkpoints_and_the_lock_are_in_the_data_dir() {
    let dir = dir();
    let start = |name: &str| {
        let text = config(STDIN_TO_FILE).replace("data_dir: state", &format!("data_dir: {name}"));
        Instance::start(dir.path(), &text)
    };
    // Two side by side: each has a directory of its own.
    let (one, mut two) = (start("one"), start("deep/two"));
    assert!(dir.path().join("one/lock").exists() && dir.path().join("deep/two/lock").exists());
    assert!(!dir.path().join("state").exists());
    assert_eq!(two.stats()["data_dir"], "deep/two");
    assert_eq!((one.terminate(), two.terminate()), (0, 0));
}

#[test]
fn the_way_to_look_in_is_where_it_was_asked_for_or_nowhere() {
    let dir = dir();
    let text = |listen: &str| config(STDIN_TO_FILE).replace("127.0.0.1:0", listen);
    for listen in ["127.0.0.1:0", "127.0.0.2:0"] {
        let mut instance = Instance::start(dir.path(), &text(listen));
        let address = instance.address("admin: http", "http://");
        assert!(address.starts_with(listen.trim_end_matches('0')), "{address}");
        assert_eq!(instance.get("/ready").0, 200);
        let other = if listen.contains(".2:") { [127, 0, 0, 1] } else { [127, 0, 0, 2] };
        let port = address.parse::<SocketAddr>().expect("an address").port();
        assert!(TcpStream::connect(SocketAddr::from((other, port))).is_err(), "and there only");
        assert_eq!(instance.terminate(), 0);
    }
    let mut instance = Instance::start(dir.path(), &text("off"));
    instance.wait_log("admin: off");
    let threads = fs::read_dir(format!("/proc/{}/task", instance.id())).expect("it runs");
    let name = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("comm")).unwrap_or_default();
    assert!(threads.flatten().map(name).all(|name| name.trim() != "admin"));
    assert_eq!(instance.terminate(), 0);
}

#[test]
fn the_ring_holds_as_much_and_its_blocks_are_as_small_as_the_queue_size_says() {
    for (size, blocks_at_least, blocks_at_most) in [(16, 200, 200), (5000, 1, 100)] {
        let dir = dir();
        write(&dir.path().join("logs/a.log"), &lines(200, 30));
        let text = format!(
            "dispatcher: {{ queue_size: {size} }}\nsources: {{ in: {{ type: file, include: [\"logs/*\"] }} }}\n\
             sinks: {{ out: {{ type: blackhole }} }}\n"
        );
        let mut instance = Instance::start(dir.path(), &config(&text));
        let stats = instance.wait_delivered("out", 200);
        assert_eq!(number(&stats["ring"], "entries_limit"), size);
        // A block has a sixteenth of the queue at most.
        let blocks = number(&stats["domains"][0], "next_ticket");
        assert!((blocks_at_least..=blocks_at_most).contains(&blocks), "{blocks} blocks with {size}");
    }
}

/// The cores this process may use.
fn cores(status: &str) -> Vec<usize> {
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).expect("a list");
    let ids = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        first.parse::<usize>().expect("a core")..=last.parse().expect("a core")
    };
    list.trim().split(',').flat_map(ids).collect()
}

#[test]
fn threads_are_as_many_and_on_the_cores_they_were_asked_for() {
    let all = cores(&fs::read_to_string("/proc/self/status").expect("it runs"));
    let (first, last) = (all[0], all[all.len() - 1]);
    let kinds = ["intake", "reader-in", "worker-0", "worker-1", "worker-2", "send-out-0"];
    // What is written for each kind, and for each of `kinds` where its thread must be; `None`: anywhere.
    type Case = ([String; 4], usize, [Option<usize>; 6]);
    let of = |cores: [usize; 3], workers: [usize; 2]| {
        let [intake, readers, senders] = cores.map(|core| format!("[{core}]"));
        [intake, readers, format!("[{}, {}]", workers[0], workers[1]), senders]
    };
    let one_way = [first, last, first, last, first, last].map(Some);
    let other_way = [last, first, last, first, last, first].map(Some);
    let cases: [Case; 3] = [
        (of([first, last, last], [first, last]), 3, one_way),
        (of([last, first, first], [last, first]), 3, other_way),
        (["[]"; 4].map(String::from), 1, [None; 6]),
    ];
    for ([intake, readers, workers, senders], count, expected) in cases {
        // A list of one twice is refused nowhere, so this runs on a single core as well.
        let dir = dir();
        let text = format!(
            "dispatcher: {{ worker_count: {count} }}\n\
             affinity: {{ intake: {intake}, readers: {readers}, workers: {workers}, senders: {senders} }}\n\
             sources: {{ in: {{ type: stdin }}, net: {{ type: syslog, listen: [\"udp://127.0.0.1:0\"] }} }}\n\
             sinks: {{ out: {{ type: blackhole }} }}\n"
        );
        let mut instance = Instance::start(dir.path(), &config(&text));
        let stats = instance.wait_stats("all threads run", |stats| {
            stats["threads"].as_array().is_some_and(|all| all.iter().all(|row| row["tid"] != 0))
        });
        let named =
            |name: &str| stats["threads"].as_array().expect("threads").iter().find(|row| row["name"] == name);
        let workers = (0..9).filter(|n| named(&format!("worker-{n}")).is_some()).count();
        assert_eq!(workers, count);
        for (name, core) in kinds.iter().zip(expected) {
            let Some(thread) = named(name) else {
                assert!(name.starts_with("worker-"), "{name} in {stats:#}");
                continue;
            };
            let status = fs::read_to_string(format!("/proc/{}/task/{}/status", instance.id(), thread["tid"]));
            let (told, real) = (&thread["cores"], cores(&status.expect("it runs")));
            match core {
                Some(core) => assert_eq!((told, real), (&Value::from(vec![core]), vec![core]), "{name}"),
                None => assert_eq!((told, &real), (&Value::Array(vec![]), &all), "{name}"),
            }
        }
    }
}

#[test]
fn without_flow_control_batches_have_their_size_or_their_age() {
    let run = |size: u64, timeout: &str, flow: bool| {
        let dir = dir();
        let rest = format!(
            "dispatcher: {{ batch_size: {size}, batch_timeout: {timeout}, flow_control: {{ enabled: {flow} }} }}\n\
             sources: {{ in: {{ type: stdin }} }}\nsinks: {{ out: {{ type: blackhole }} }}\n"
        );
        let (mut instance, writer) = with_input(dir.path(), &rest, &lines(35, 20));
        let mut stats = instance.wait_stats("all came", |stats| sink(stats, "out", "copies") == 35);
        let want = lane(&stats, "out")["batch_want"].as_u64();
        let rest = if flow || timeout != "1h" { 0 } else { 35 % size };
        stats = instance.wait_stats("what is due is gone", |stats| sink(stats, "out", "in_flight") == rest);
        if rest > 0 {
            // Long past the 5 ms and 50 ms of flow control, and the age below; once past the age where none is written.
            let long = if size == 100 { 5500 } else { 400 };
            stats = wait_uptime(&mut instance, Duration::from_millis(long));
        }
        assert_eq!(instance.terminate(), 0, "what waits for company is delivered at the end");
        drop(writer.join());
        (sink(&stats, "out", "delivered"), sink(&stats, "out", "batches"), want)
    };
    assert_eq!(run(10, "1h", false), (30, 3, Some(10)));
    assert_eq!(run(7, "1h", false), (35, 5, Some(7)));
    assert_eq!(run(100, "1h", false), (0, 0, Some(100)));
    assert_eq!(run(100, "200ms", false).0, 35);
    assert_eq!(run(100, "1h", true).0, 35);
}

#[test]
fn a_stop_waits_for_a_slow_sink_as_long_as_the_drain_timeout_says() {
    for (timeout, code) in [("100ms", 1), ("60s", 0)] {
        let dir = dir();
        let rest = format!("dispatcher: {{ drain_timeout: {timeout} }}\n{STDIN_TO_CONSOLE}");
        let (mut instance, writer) = with_input(dir.path(), &rest, &lines(2000, 100));
        instance.wait_stats("all came", |stats| sink(stats, "out", "copies") == 2000);
        instance.signal("TERM");
        instance.wait_log("ending:");
        if code == 1 {
            assert_eq!(instance.wait().code(), Some(1), "nobody reads, and it does not wait for ever");
        }
        let mut out = String::new();
        instance.stdout().read_to_string(&mut out).expect("text");
        assert_eq!(instance.wait().code(), Some(code));
        assert_eq!(out.lines().count() == 2000, code == 0);
        drop(writer.join());
    }
}

#[test]
fn watermarks_are_where_they_were_put_or_nowhere() {
    // One entry is a ten-thousandth of the queue; each is sent when the one before has left.
    for (marks, triggered) in [
        ("high_watermark: 0.0001, low_watermark: 0.00001", 5),
        ("high_watermark: 0.0002, low_watermark: 0.00001", 0),
        ("high_watermark: 0.0001, low_watermark: 0.00001, enabled: false", 0),
    ] {
        let dir = dir();
        let rest = format!("dispatcher: {{ backpressure: {{ {marks} }} }}\n{STDIN_TO_FILE}");
        let (mut instance, writer) = with_input(dir.path(), &rest, "");
        let mut stdin = writer.join().expect("no panic");
        for n in 1..=5 {
            stdin.write_all(b"x\n").expect("it reads");
            instance.wait_delivered("out", n);
        }
        assert_eq!(number(&instance.stats()["ring"], "backpressure_triggered"), triggered, "{marks}");
    }
}

/// A small budget: beside the program one lane is full at 9 MiB.
const SMALL: &str = "quotas: { max_memory: 35MiB }\n";
/// This many lines of a thousand bytes are more than the small lane holds, with all that may be in transit.
const MUCH: usize = 24_000;

#[test]
fn a_larger_budget_holds_more_before_sources_are_stopped() {
    for (budget, all) in [("35MiB", false), ("160MiB", true)] {
        let dir = dir();
        let rest = format!("quotas: {{ max_memory: {budget} }}\n{STDIN_TO_CONSOLE}");
        let (mut instance, _writer) = with_input(dir.path(), &rest, &lines(MUCH, 999));
        let stats = instance.wait_stats("it is full or has all", |stats| {
            source(stats, "in", "received") == MUCH as u64 || lane(stats, "out")["gate_closed"] == true
        });
        assert_eq!(lane(&stats, "out")["gate_closed"], !all, "{stats:#}");
        assert_eq!(number(&stats["memory"], "transit_limit_bytes") > 16 << 20, all, "{stats:#}");
        assert_eq!(number(row(&stats, "quotas", "memory"), "limit") >> 20, if all { 160 } else { 35 });
    }
}

#[test]
fn a_full_lane_lets_its_sources_go_on_at_the_low_watermark() {
    for (low, goes_on) in [("0.00001", false), ("0.79", true)] {
        let dir = dir();
        let rest =
            format!("{SMALL}dispatcher: {{ backpressure: {{ low_watermark: {low} }} }}\n{STDIN_TO_CONSOLE}");
        let (mut instance, _writer) = with_input(dir.path(), &rest, &lines(MUCH, 999));
        instance.wait_stats("the lane is full", |stats| lane(stats, "out")["gate_closed"] == true);
        // What was in transit when the gate closed has arrived, but for a block at most that is being filled.
        let full = instance.wait_stats("nothing moves", |stats| source(stats, "in", "in_transit") == 0);
        let before = source(&full, "in", "received");
        // Half of it is read: far below the one mark, far above the other.
        let (mut out, mut half) = (instance.stdout(), vec![0; before as usize * 1000 / 2]);
        out.read_exact(&mut half).expect("it writes");
        if goes_on {
            instance.wait_stats("it reads on", |stats| source(stats, "in", "received") > before + 1000);
        } else {
            let stats = wait_uptime(&mut instance, Duration::from_millis(300));
            assert_eq!(lane(&stats, "out")["gate_closed"], true, "{stats:#}");
            assert!(source(&stats, "in", "received") < before + 200, "{before} before, {stats:#}");
        }
    }
}

#[test]
fn a_full_sink_stops_some_sources_and_costs_others_as_they_were_told() {
    let run = |pressure: &str, own: &str, blocks: bool| {
        let dir = dir();
        // Of a single file no more than a window is under way, whatever the lane could hold.
        for n in 0..8 {
            write(&dir.path().join(format!("logs/{n}.log")), &lines(MUCH / 8, 999));
        }
        let rest = format!(
            "{SMALL}dispatcher: {{ backpressure: {{ {pressure} }} }}\n\
             sources: {{ in: {{ type: file, include: [\"logs/*\"]{own} }} }}\n\
             sinks: {{ out: {{ type: console, format: raw }} }}\n"
        );
        let mut instance = Instance::start(dir.path(), &config(&rest));
        let stats = instance.wait_stats("all is read, or no more is", |stats| match blocks {
            true => lane(stats, "out")["gate_closed"] == true,
            false => source(stats, "in", "received") == MUCH as u64 && source(stats, "in", "in_transit") == 0,
        });
        let dropped = |reason: &str| {
            let of = |row: &Value| row["dropped"][reason].as_u64().expect("a number");
            of(row(&stats, "sources", "in")) + of(row(&stats, "sinks", "out")) > 0
        };
        (dropped("drop_newest"), dropped("drop_oldest"))
    };
    // The dispatcher's word, that without backpressure, and the source's own over it.
    assert_eq!(run("strategy: block", "", true), (false, false));
    assert_eq!(run("strategy: drop_newest", "", false), (true, false));
    assert_eq!(run("strategy: drop_oldest", "", false), (false, true));
    assert_eq!(run("strategy: drop_newest, enabled: false", "", true), (false, false));
    assert_eq!(run("strategy: drop_newest", ", strategy: block", true), (false, false));
    assert_eq!(run("strategy: block", ", strategy: drop_newest", false), (true, false));
}

#[test]
fn a_request_that_takes_too_long_makes_the_next_batch_smaller() {
    for (target, factor, want) in [("1h", "0.1", 100), ("1ms", "0.1", 90), ("1ms", "0.5", 50)] {
        let dir = dir();
        let rest = format!(
            "dispatcher: {{ flow_control: {{ target_latency: {target}, adjustment_factor: {factor} }} }}\n{STDIN_TO_CONSOLE}"
        );
        // One entry, too large for the pipe: the request takes as long as nobody reads.
        let (mut instance, _writer) = with_input(dir.path(), &rest, &lines(1, 200_000));
        let stats = instance.wait_stats("it is being sent", |stats| sink(stats, "out", "batches_out") == 1);
        assert_eq!(lane(&stats, "out")["batch_want"], 100, "where it starts");
        wait_uptime(&mut instance, Duration::from_millis(30));
        let mut all = vec![0; 200_001];
        instance.stdout().read_exact(&mut all).expect("it writes");
        let stats = instance.wait_delivered("out", 1);
        assert_eq!(lane(&stats, "out")["batch_want"], want, "target {target}, factor {factor}");
    }
}

// --- file source

#[test]
fn files_are_chosen_by_globs_and_age_and_labelled() {
    let dir = dir();
    for (name, text) in [
        ("a.log", "{\"k\":1}\n"),
        ("b.log", "{\"k\":2}\n"),
        ("c.txt", "{\"k\":3}\n"),
        ("old.log", "{\"k\":4}\n"),
    ] {
        write(&dir.path().join("logs").join(name), text);
    }
    let old = OpenOptions::new().write(true).open(dir.path().join("logs/old.log")).expect("it is there");
    old.set_modified(SystemTime::now() - Duration::from_secs(3 * 86_400)).expect("it can be told");
    let text = config(
        r#"
sources:
  all:   { type: file, include: ["logs/*"], labels: { job: everything }, pipeline: p }
  txt:   { type: file, include: ["logs/*.txt"], labels: { job: text } }
  two:   { type: file, include: ["logs/a.log", "logs/c.*"] }
  but:   { type: file, include: ["logs/*"], exclude: ["*.log"] }
  young: { type: file, include: ["logs/*"], ignore_older: 2d }
  older: { type: file, include: ["logs/*"], ignore_older: 4d }
pipelines: { p: [ { parse: json } ] }
sinks: { out: { type: file, path: "out/{source}", format: json } }
"#,
    );
    let mut instance = Instance::start(dir.path(), &text);
    instance.wait_delivered("out", 4 + 1 + 2 + 1 + 3 + 4);
    assert_eq!(instance.terminate(), 0);
    let of = |source: &str| {
        let out: Vec<Value> = lines_of(&dir.path().join("out").join(source))
            .iter()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        let mut messages: Vec<_> =
            out.iter().map(|entry| entry["message"].as_str().unwrap_or("?")[5..6].to_string()).collect();
        messages.sort();
        (messages.concat(), out[0]["labels"]["job"].clone(), out[0]["fields"]["k"].is_number())
    };
    assert_eq!(of("all"), ("1234".into(), "everything".into(), true));
    assert_eq!(of("txt"), ("3".into(), "text".into(), false));
    assert_eq!(of("two"), ("13".into(), Value::Null, false));
    assert_eq!(of("but").0, "3");
    assert_eq!(of("young").0, "123");
    assert_eq!(of("older").0, "1234");
}

#[test]
fn lines_are_read_from_where_cut_where_and_waited_for_as_long_as_asked() {
    let dir = dir();
    let (log, partial) = (dir.path().join("logs/a.log"), dir.path().join("part/a.log"));
    write(&log, "there before\n");
    write(&partial, "whole\nhalf");
    let text = config(
        r#"
sources:
  begin: { type: file, include: ["logs/*"], read_from: beginning, max_line: 100B }
  end:   { type: file, include: ["logs/*"], read_from: end, max_line: 300B }
  short: { type: file, include: ["part/*"], partial_timeout: 100ms }
  long:  { type: file, include: ["part/*"], partial_timeout: 1h }
sinks: { out: { type: file, path: "out/{source}" } }
"#,
    );
    let mut instance = Instance::start(dir.path(), &text);
    instance.wait_stats("all is found", |stats| {
        source(stats, "begin", "received") == 1
            && source(stats, "end", "streams") == 1
            && source(stats, "short", "received") == 2
            && source(stats, "long", "received") == 1
    });
    append(&log, &format!("{}\n", "x".repeat(500)));
    let stats = instance.wait_delivered("out", 6);
    assert_eq!((source(&stats, "begin", "cut"), source(&stats, "end", "cut")), (1, 1));
    let of = |source: &str| lines_of(&dir.path().join("out").join(source));
    assert_eq!(of("begin"), ["there before".into(), "x".repeat(100)]);
    assert_eq!(of("end"), ["x".repeat(300)]);
    assert_eq!((of("short"), of("long")), (vec!["whole".into(), "half".into()], vec!["whole".to_string()]));
}

#[test]
fn what_the_system_does_not_tell_is_found_by_the_rescan() {
    let dir = dir();
    let (inside, outside) = (dir.path().join("logs/a.log"), dir.path().join("elsewhere.log"));
    write(&inside, "one\n");
    // inotify tells of a file under the name it is written by: nobody who watches `logs` hears of this one.
    fs::hard_link(&inside, &outside).expect("linked");
    let text = config(
        r#"
sources:
  often:  { type: file, include: ["logs/*"], rescan: 100ms }
  seldom: { type: file, include: ["logs/*"], rescan: 1h }
sinks: { out: { type: file, path: "out/{source}" } }
"#,
    );
    let mut instance = Instance::start(dir.path(), &text);
    instance.wait_delivered("out", 2);
    append(&outside, "two\n");
    instance.wait_stats("the next scan", |stats| source(stats, "often", "received") == 2);
    let stats = wait_uptime(&mut instance, Duration::from_millis(300));
    assert_eq!(source(&stats, "seldom", "received"), 1);
}

#[test]
fn a_file_moved_away_is_followed_as_long_as_asked() {
    let dir = dir();
    let (log, moved) = (dir.path().join("logs/a.log"), dir.path().join("old/moved"));
    write(&log, "one\n");
    write(&dir.path().join("old/x"), "");
    let text = config(
        r#"
sources:
  short: { type: file, include: ["logs/*"], rotate_wait: 100ms }
  long:  { type: file, include: ["logs/*"], rotate_wait: 1h }
sinks: { out: { type: file, path: "out/{source}" } }
"#,
    );
    let mut instance = Instance::start(dir.path(), &text);
    instance.wait_delivered("out", 2);
    fs::rename(&log, &moved).expect("moved");
    assert_eq!(open_below(&instance, &dir.path().join("old")), 2, "both followed it");
    // The one lets go of it; what is written then only the other reads.
    let patience = std::time::Instant::now() + PATIENCE;
    while open_below(&instance, &dir.path().join("old")) > 1 {
        assert!(std::time::Instant::now() < patience, "both hold it for ever");
        wait_uptime(&mut instance, Duration::from_millis(20));
    }
    append(&moved, "late\n");
    let stats = instance.wait_stats("the late line", |stats| source(stats, "long", "received") == 2);
    assert_eq!(source(&stats, "short", "received"), 1);
}

#[test]
fn no_more_files_are_open_than_allowed_on_either_side() {
    // What is closed but not yet synced is held for the checkpoint: without syncs there is nothing of that.
    let run = |read: usize, written: usize| {
        let dir = dir();
        for n in 0..8 {
            write(&dir.path().join(format!("logs/{n}.log")), &format!("{{\"n\":\"f{n}\"}}\n"));
        }
        let rest = format!(
            "sources: {{ in: {{ type: file, include: [\"logs/*\"], open_files: {read}, pipeline: p }} }}\n\
             pipelines: {{ p: [ {{ parse: json }} ] }}\n\
             sinks: {{ out: {{ type: file, path: \"out/{{fields.n}}.log\", open_files: {written}, fsync: none }} }}\n"
        );
        let mut instance = Instance::start(dir.path(), &config(&rest));
        instance.wait_delivered("out", 8);
        assert_eq!(files(&dir.path().join("out")).len(), 8);
        let below = |name: &str| open_files_below(&instance, &dir.path().join(name));
        (below("logs"), below("out"))
    };
    assert_eq!(run(1024, 128), (8, 8));
    let (read, written) = run(3, 2);
    // The source closes a few more than it must.
    assert!((1..=3).contains(&read) && written == 2, "{read} and {written}");
}

/// How many files (directories are not counted) of the instance are open below `dir`.
fn open_files_below(instance: &Instance, dir: &Path) -> usize {
    let dir = dir.canonicalize().expect("it is there");
    let all = fs::read_dir(format!("/proc/{}/fd", instance.id())).expect("it runs");
    let paths = all.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    paths.filter(|path| path.starts_with(&dir) && path.is_file()).count()
}

// --- syslog and standard input

/// A connection from the loopback address that ends in `.last`.
fn connect_from(last: u8, to: &str) -> TcpStream {
    let to: SocketAddr = to.parse().expect("an address");
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0)).into()).expect("bound");
    socket.connect(&to.into()).expect("connected");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    socket.into()
}

/// Waits until the other side closes the connection.
fn assert_closed(mut connection: TcpStream) {
    match connection.read(&mut [0; 1]) {
        Ok(0) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        other => panic!("still open: {other:?}"),
    }
}

fn tcp_of(instance: &mut Instance, source: &str) -> String {
    instance.address(&format!("source {source} "), "tcp://")
}

#[test]
fn connections_and_messages_have_the_limits_they_were_given() {
    let dir = dir();
    let text = config(
        r#"
sources:
  wide:    { type: syslog, listen: ["tcp://127.0.0.1:0"], max_message: 300B }
  two:     { type: syslog, listen: ["tcp://127.0.0.1:0", "udp://127.0.0.1:0"], max_connections: 2, max_message: 100B }
  one-per: { type: syslog, listen: ["tcp://127.0.0.1:0"], max_connections_per_address: 1 }
sinks: { out: { type: file, path: "out/{source}" } }
"#,
    );
    let mut instance = Instance::start(dir.path(), &text);
    let mut open = Vec::new();
    for name in ["wide", "two", "one-per"] {
        let to = tcp_of(&mut instance, name);
        for (nth, from) in [1, 1, 3].into_iter().enumerate() {
            let connection = connect_from(from, &to);
            match (name, nth) {
                ("two", 2) | ("one-per", 1) => assert_closed(connection),
                _ => open.push((name, connection)),
            }
        }
    }
    let stats = instance.wait_stats("all were let in or not", |stats| {
        ["wide", "two", "one-per"].iter().map(|name| source(stats, name, "streams")).eq([3, 2, 2])
    });
    let refused = ["wide", "two", "one-per"].map(|name| source(&stats, name, "refused_connections"));
    assert_eq!(refused, [0, 1, 1]);
    assert_eq!(row(&stats, "sources", "wide")["listening"].as_array().map(Vec::len), Some(1));
    assert_eq!(row(&stats, "sources", "two")["listening"].as_array().map(Vec::len), Some(2));
    let message = format!("<13>1 - - - - - - {}\n", "x".repeat(500));
    for (_, connection) in open.iter_mut().filter(|(name, _)| *name != "one-per").step_by(3) {
        connection.write_all(message.as_bytes()).expect("it reads");
    }
    let stats = instance.wait_delivered("out", 2);
    assert_eq!((source(&stats, "wide", "cut"), source(&stats, "two", "cut")), (1, 1));
    let of = |source: &str| lines_of(&dir.path().join("out").join(source));
    assert_eq!((of("wide"), of("two")), (vec![message[..300].to_string()], vec![message[..100].to_string()]));
}

#[test]
fn silent_connections_and_hoarders_of_memory_are_closed_as_asked() {
    let dir = dir();
    let text = config(
        r#"
sources:
  patient:   { type: syslog, listen: ["tcp://127.0.0.1:0"] }
  impatient: { type: syslog, listen: ["tcp://127.0.0.1:0"], idle_timeout: 100ms }
  small:     { type: syslog, listen: ["tcp://127.0.0.1:0"], max_message: 40KiB, partial_memory: 40KiB }
sinks: { out: { type: file, path: "out/{source}" } }
"#,
    );
    let mut instance = Instance::start(dir.path(), &text);
    let [patient, impatient, small] =
        ["patient", "impatient", "small"].map(|name| tcp_of(&mut instance, name));
    let silent = connect_from(1, &patient);
    assert_closed(connect_from(1, &impatient));
    // Two unfinished messages of 30 KB each.
    let hoard = |to: &str| {
        [30_000, 30_001].map(|len| {
            let mut connection = connect_from(1, to);
            connection.write_all("<13>".repeat(len / 4).as_bytes()).expect("it reads");
            connection
        })
    };
    let (kept, pressed) = (hoard(&patient), hoard(&small));
    let stats = instance.wait_stats("one of the two has gone, with what it had", |stats| {
        source(stats, "small", "received") == 1 && source(stats, "small", "streams") == 1
    });
    assert_eq!((source(&stats, "patient", "streams"), source(&stats, "patient", "received")), (3, 0));
    assert_eq!(source(&stats, "impatient", "streams"), 0);
    drop((silent, kept, pressed));
}

#[test]
fn a_burst_fits_the_receive_buffer_that_was_asked_for() {
    const BURST: u64 = 100;
    let dir = dir();
    let text = config(
        r#"
sources:
  small: { type: syslog, listen: ["udp://127.0.0.1:0"], receive_buffer: 8KiB }
  large: { type: syslog, listen: ["udp://127.0.0.1:0"], receive_buffer: 1MiB }
sinks: { out: { type: file, path: "out/{source}" } }
"#,
    );
    let mut instance = Instance::start(dir.path(), &text);
    let to = ["small", "large"].map(|name| instance.address(&format!("source {name} "), "udp://"));
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    // While it stands still, all of a burst has to fit the buffer. A hundred datagrams fit what any system grants.
    instance.signal("STOP");
    for (to, _) in to.iter().flat_map(|to| (0..BURST).map(move |n| (to, n))) {
        socket.send_to(&[b'x'; 500], to).expect("sent");
    }
    instance.signal("CONT");
    let stats = instance.wait_stats("the burst is in", |stats| source(stats, "large", "received") == BURST);
    assert_eq!(source(&stats, "large", "kernel_drops"), 0);
    // What the kernel threw away is told with the next datagram.
    socket.send_to(b"x", &to[0]).expect("sent");
    let stats = instance.wait_stats("some of it was lost", |stats| {
        source(stats, "small", "received") + source(stats, "small", "kernel_drops") == BURST + 1
    });
    assert!(source(&stats, "small", "kernel_drops") > 0, "{stats:#}");
}

#[test]
fn times_without_a_zone_are_of_the_zone_that_was_given() {
    let dir = dir();
    let text = config(
        r#"
sources:
  utc:  { type: syslog, listen: ["tcp://127.0.0.1:0"], timezone: utc }
  east: { type: syslog, listen: ["tcp://127.0.0.1:0"], timezone: Asia/Kolkata }
sinks: { out: { type: file, path: "out/{source}", format: json } }
"#,
    );
    let mut instance = Instance::start(dir.path(), &text);
    for name in ["utc", "east"] {
        let to = tcp_of(&mut instance, name);
        connect_from(1, &to).write_all(b"<34>Mar  1 08:20:31 host su: message\n").expect("it reads");
    }
    instance.wait_delivered("out", 2);
    let time = |source: &str| {
        let out = lines_of(&dir.path().join("out").join(source));
        serde_json::from_str::<Value>(&out[0]).expect("JSON")["time"].as_str().expect("a time")[5..19]
            .to_string()
    };
    assert_eq!((time("utc").as_str(), time("east").as_str()), ("03-01T08:20:31", "03-01T02:50:31"));
}

#[test]
fn the_longest_line_of_the_standard_input_is_as_long_as_asked() {
    for longest in [100, 300] {
        let dir = dir();
        let rest = STDIN_TO_FILE.replace("type: stdin", &format!("type: stdin, max_line: {longest}B"));
        let (mut instance, _writer) = with_input(dir.path(), &rest, &("x".repeat(500) + "\n"));
        let stats = instance.wait_delivered("out", 1);
        assert_eq!(source(&stats, "in", "cut"), 1);
        assert_eq!(lines_of(&dir.path().join("out/all.log")), ["x".repeat(longest)]);
    }
}

#[test]
fn sources_and_sinks_are_of_the_type_they_were_given() {
    let dir = dir();
    let text = config(
        r#"
sources:
  a: { type: stdin }
  b: { type: file, include: ["logs/*"] }
  c: { type: syslog, listen: ["udp://127.0.0.1:0"] }
sinks: { d: { type: file, path: out/d }, e: { type: console }, f: { type: blackhole } }
"#,
    );
    write(&dir.path().join("logs/a.log"), "from a file\n");
    let (mut instance, writer) = with_input(
        dir.path(),
        &text.replace("data_dir: state\nadmin: { listen: \"127.0.0.1:0\" }\n", ""),
        "from stdin\n",
    );
    let udp = instance.address("source c ", "udp://");
    UdpSocket::bind("127.0.0.1:0").expect("a socket").send_to(b"from the net", udp).expect("sent");
    for sink in ["d", "e", "f"] {
        instance.wait_delivered(sink, 3);
    }
    let mut written = lines_of(&dir.path().join("out/d"));
    written.sort();
    assert_eq!(written, ["from a file", "from stdin", "from the net"]);
    let mut shown = BufReader::new(instance.stdout());
    for _ in 0..3 {
        let mut line = String::new();
        shown.read_line(&mut line).expect("text");
        assert!(written.iter().any(|text| line.contains(text)), "{line}");
    }
    drop(writer.join());
}

// --- sinks

#[test]
fn entries_go_where_and_as_what_each_sink_was_told() {
    let dir = dir();
    let text = r#"
sources: { in: { type: stdin, pipeline: p } }
pipelines: { p: [ { parse: json } ] }
sinks:
  raw:   { type: file, path: "out/raw/{source}.log" }
  text:  { type: file, path: "out/{fields.n}/text", format: text }
  json:  { type: file, path: out/json, format: json, when: 'n == 2' }
  off:   { type: file, path: out/off, enabled: false }
  none:  { type: blackhole, enabled: true }
  never: { type: blackhole, enabled: false }
"#;
    let input = ["{\"n\":1,\"t\":\"\\u001b[31m\"}", "{\"n\":2}"];
    let (mut instance, writer) = with_input(dir.path(), text, &(input.join("\n") + "\n"));
    for (sink, copies) in [("raw", 2), ("text", 2), ("json", 1), ("none", 2)] {
        instance.wait_delivered(sink, copies);
    }
    let stats = instance.stats();
    let names: Vec<_> =
        stats["sinks"].as_array().expect("sinks").iter().map(|row| row["name"].clone()).collect();
    // There are steps, so there is a lane for what they give up.
    assert_eq!(names, ["raw", "text", "json", "none", "dlq"]);
    let of = |path: &str| lines_of(&dir.path().join("out").join(path));
    assert_eq!(of("raw/in.log"), input);
    assert_eq!((of("1/text").len(), of("2/text").len(), of("json").len()), (1, 1, 1));
    assert!(of("2/text")[0].ends_with(" in stdin {} {\"n\":2} n=2"), "{:?}", of("2/text"));
    assert_eq!(serde_json::from_str::<Value>(&of("json")[0]).expect("JSON")["message"], input[1]);
    assert!(!dir.path().join("out/off").exists());
    drop(writer.join());
}

#[test]
fn the_console_shows_entries_in_the_format_it_was_given() {
    for format in ["raw", "text", "json"] {
        let dir = dir();
        let rest = STDIN_TO_CONSOLE.replace("raw", format);
        let (mut instance, _writer) = with_input(dir.path(), &rest, "a message\n");
        instance.wait_delivered("out", 1);
        let mut line = String::new();
        BufReader::new(instance.stdout()).read_line(&mut line).expect("text");
        let (is_raw, is_json) = (line == "a message\n", serde_json::from_str::<Value>(&line).is_ok());
        assert_eq!((is_raw, is_json), (format == "raw", format == "json"), "{format}: {line}");
        assert!(line.contains("a message"), "{format}: {line}");
    }
}

#[test]
fn as_many_batches_are_out_as_order_and_concurrency_allow() {
    for (ordering, concurrency, out) in [("stream", 3, 1), ("none", 3, 3), ("none", 1, 1)] {
        let dir = dir();
        // Without flow control, which has fewer out where a request takes long.
        let rest = format!(
            "dispatcher: {{ flow_control: {{ enabled: false }} }}\nsources: {{ in: {{ type: stdin }} }}\n\
             sinks: {{ out: {{ type: console, format: raw, ordering: {ordering}, concurrency: {concurrency}, \
             batch: {{ max_entries: 10 }} }} }}\n"
        );
        // One stream; nobody reads, so that what is out stays out.
        let (mut instance, _writer) = with_input(dir.path(), &rest, &lines(2000, 100));
        let stats = instance.wait_stats("all came, and as much as may be is out", |stats| {
            sink(stats, "out", "copies") == 2000 && sink(stats, "out", "batches_out") >= out
        });
        let senders = stats["threads"].as_array().expect("threads").iter();
        let senders =
            senders.filter(|row| row["name"].as_str().is_some_and(|name| name.starts_with("send-"))).count();
        assert_eq!(senders, concurrency);
        let stats = wait_uptime(&mut instance, Duration::from_millis(100));
        assert_eq!(sink(&stats, "out", "batches_out"), out, "{ordering}, {concurrency}");
    }
}

#[test]
fn no_batch_is_larger_than_its_sink_allows() {
    // A thousand entries of 100 bytes (99 and the end of the line, which counts where it can be told).
    let dir = dir();
    write(&dir.path().join("logs/a.log"), &lines(1000, 99));
    let text = config(
        r#"
dispatcher: { batch_size: 100, batch_timeout: 1h, flow_control: { enabled: false } }
sources: { in: { type: file, include: ["logs/*"] } }
sinks:
  plain: { type: blackhole }
  fifty: { type: blackhole, batch: { max_entries: 50 } }
  ten:   { type: blackhole, batch: { max_entries: 10 } }
  bytes: { type: blackhole, batch: { max_bytes: 2500B } }
"#,
    );
    let mut instance = Instance::start(dir.path(), &text);
    for (name, size) in [("plain", 100), ("fifty", 50), ("ten", 10)] {
        let all = |stats: &Value| sink(stats, name, "delivered") == 1000;
        let stats = instance.wait_stats("all are delivered", all);
        assert_eq!(sink(&stats, name, "batches"), 1000 / size, "{name}");
    }
    let stats =
        instance.wait_stats("the last does not wait", |stats| sink(stats, "bytes", "delivered") >= 975);
    assert!(sink(&stats, "bytes", "batches") >= sink(&stats, "bytes", "delivered") / 25, "{stats:#}");
}

/// A config with a sink for each of `sinks` (a name and its keys), whose files cannot be written to, as there is a
/// directory in their place.
fn failing(dir: &Path, sinks: &[(&str, &str)]) -> String {
    let mut rest = String::from("sources: { in: { type: stdin } }\nsinks:\n");
    for (name, keys) in sinks {
        fs::create_dir_all(dir.join(format!("out/{name}/in"))).expect("created");
        rest.push_str(&format!("  {name}: {{ type: file, path: \"out/{name}/{{source}}\"{keys} }}\n"));
    }
    rest
}

/// What the log says of the wait before the second attempt at `sink`.
fn first_wait(instance: &mut Instance, sink: &str) -> String {
    let line = instance.wait_log(&format!("sink {sink}: 1 entries kept, next attempt in "));
    let wait = line.split("next attempt in ").nth(1).and_then(|rest| rest.split(": ").next());
    wait.unwrap_or_else(|| panic!("no wait in {line}")).to_string()
}

/// Otherwise a sink that fails often is left alone for longer than it was told to wait.
const NO_BREAKER: &str = "circuit_breaker: { enabled: false }";

#[test]
fn a_sink_that_fails_is_tried_again_after_the_waits_it_was_given() {
    let dir = dir();
    let retry = |keys: &str| format!(", retry: {{ {keys} }}");
    let sinks = [
        ("plain", String::new()),
        ("own", retry("backoff: 3h")),
        ("jittery", retry("jitter: full")),
        ("steady", retry("backoff: 1ms, multiplier: 1")),
        ("growing", retry("backoff: 20ms, multiplier: 100, backoff_max: 4h")),
        ("bounded", retry("backoff: 20ms, multiplier: 100, backoff_max: 20ms")),
    ];
    let sinks = sinks.each_ref().map(|(name, keys)| (*name, keys.as_str()));
    let rest = failing(dir.path(), &sinks);
    let rest = format!(
        "dispatcher: {{ retry_backoff: 2h, retry_backoff_max: 5h, retry_jitter: none, {NO_BREAKER} }}\n{rest}"
    );
    let (mut instance, _writer) = with_input(dir.path(), &rest, "x\n");
    assert_eq!(first_wait(&mut instance, "plain"), "7200.0s");
    assert_eq!(first_wait(&mut instance, "own"), "10800.0s");
    // Full jitter: anything up to two hours; exactly that once in some ten thousand times.
    assert_ne!(first_wait(&mut instance, "jittery"), "7200.0s");
    assert_eq!(first_wait(&mut instance, "steady"), "1.0ms");
    instance.wait_stats("the patient are tried again and again", |stats| {
        sink(stats, "steady", "errors") > 50 && sink(stats, "bounded", "errors") > 10
    });
    // The third attempt would come after 2 s, the fourth after 200: the first two took 20 ms.
    let stats = instance.wait_stats("twice", |stats| sink(stats, "growing", "errors") >= 2);
    assert!(sink(&stats, "growing", "errors") <= 3, "{stats:#}");
    assert_eq!(
        (sink(&stats, "plain", "errors"), row(&stats, "sinks", "plain")["state"].as_str()),
        (1, Some("retrying"))
    );
}

#[test]
fn a_sink_that_fails_is_tried_again_after_the_waits_of_the_dispatcher() {
    for (keys, often) in [
        ("retry_multiplier: 1, retry_backoff_max: 4h", true),
        ("retry_multiplier: 100, retry_backoff_max: 10ms", true),
        ("retry_multiplier: 100, retry_backoff_max: 4h", false),
    ] {
        let dir = dir();
        let rest = failing(dir.path(), &[("out", "")]);
        let rest = format!(
            "dispatcher: {{ retry_backoff: 10ms, retry_jitter: none, {NO_BREAKER}, {keys} }}\n{rest}"
        );
        let (mut instance, _writer) = with_input(dir.path(), &rest, "x\n");
        if often {
            instance.wait_stats("many attempts", |stats| sink(stats, "out", "errors") > 10);
        } else {
            // 10 ms, 1 s, 100 s.
            let stats = wait_uptime(&mut instance, Duration::from_millis(500));
            assert!(sink(&stats, "out", "errors") <= 4, "{stats:#}");
        }
    }
}
