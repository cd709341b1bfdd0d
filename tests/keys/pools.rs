//! The keys of the workers' pools.

use super::*;

/// Each key, and the test that shows it.
pub const SHOWN: &[(&str, &str)] = &[
    (
        "dispatcher.worker_pool.min_workers",
        "tests/keys/pools.rs:there_are_as_many_workers_as_the_bounds_say_also_after_a_reload",
    ),
    (
        "dispatcher.worker_pool.max_workers",
        "tests/keys/pools.rs:there_are_as_many_workers_as_the_bounds_say_also_after_a_reload",
    ),
    (
        "dispatcher.worker_pool.idle_timeout",
        "tests/keys/pools.rs:who_has_nothing_to_do_goes_after_the_time_it_was_given",
    ),
    (
        "dispatcher.worker_pool.enable_metrics",
        "tests/keys/pools.rs:durations_are_recorded_by_pool_or_not_at_all",
    ),
    (
        "dispatcher.worker_pool.pools.heavy.workers.min",
        "tests/keys/pools.rs:a_pool_has_its_workers_on_its_cores_and_does_what_is_asked_of_it",
    ),
    (
        "dispatcher.worker_pool.pools.heavy.workers.max",
        "tests/keys/pools.rs:a_pool_has_its_workers_on_its_cores_and_does_what_is_asked_of_it",
    ),
    (
        "dispatcher.worker_pool.pools.heavy.cores",
        "tests/keys/pools.rs:a_pool_has_its_workers_on_its_cores_and_does_what_is_asked_of_it",
    ),
    (
        "dispatcher.worker_pool.pools.heavy.capabilities",
        "tests/keys/pools.rs:a_pool_has_its_workers_on_its_cores_and_does_what_is_asked_of_it",
    ),
    (
        "pipelines.pool",
        "tests/keys/pools.rs:a_pool_has_its_workers_on_its_cores_and_does_what_is_asked_of_it",
    ),
    (
        "pipelines.needs",
        "tests/keys/pools.rs:a_pool_has_its_workers_on_its_cores_and_does_what_is_asked_of_it",
    ),
];

fn pool_config(pool: &str) -> String {
    config(&format!(
        "dispatcher: {{ worker_pool: {{ {pool} }} }}\nsources: {{ in: {{ type: stdin }} }}\n\
         sinks: {{ out: {{ type: blackhole }} }}\n"
    ))
}

fn workers(stats: &Value) -> u64 {
    number(row(&stats["workers"], "pools", "general"), "workers")
}

#[test]
fn there_are_as_many_workers_as_the_bounds_say_also_after_a_reload() {
    let dir = dir();
    let core = cores(&fs::read_to_string("/proc/self/status").expect("it runs"))[0];
    // By themselves there are as many as have a core: three.
    let bounds =
        |pool: &str| pool_config(pool) + &format!("affinity: {{ workers: [{core}, {core}, {core}] }}\n");
    for (pool, count) in [("max_workers: 2", 2), ("min_workers: 4, max_workers: 5", 4), ("", 3)] {
        let mut instance = Instance::start(dir.path(), &bounds(pool));
        assert_eq!(workers(&instance.stats()), count, "{pool}");
        assert_eq!(instance.terminate(), 0);
    }
    let mut instance = Instance::start(dir.path(), &bounds("max_workers: 3"));
    for (pool, count) in [("min_workers: 6, max_workers: 6", 6), ("min_workers: 1, max_workers: 2", 2)] {
        put(dir.path(), &bounds(pool));
        assert!(reload(&mut instance, &SAID).contains("in force"));
        // Threads are counted by themselves, a moment before or after.
        let is_worker = |row: &Value| row["name"].as_str().is_some_and(|name| name.starts_with("worker-"));
        instance.wait_stats("as many as it says now", |stats| {
            let threads = stats["threads"].as_array().expect("rows").iter();
            let there = threads.filter(|row| is_worker(row) && row["doing"] != "ended").count() as u64;
            (workers(stats), there) == (count, count)
        });
    }
    assert_eq!(instance.terminate(), 0);
}

#[test]
fn who_has_nothing_to_do_goes_after_the_time_it_was_given() {
    let dir = dir();
    let bounds = |least: u32, timeout: &str| {
        let pool = format!("min_workers: {least}, max_workers: 4, idle_timeout: {timeout}");
        pool_config(&pool).replace("worker_pool:", "worker_count: 4, worker_pool:")
    };
    let mut instance = Instance::start(dir.path(), &bounds(1, "1s"));
    let stats = instance.wait_stats("one is left", |stats| workers(stats) == 1);
    assert_eq!(number(row(&stats["workers"], "pools", "general"), "shrunk"), 3);
    assert_eq!(instance.terminate(), 0);
    let mut instance = Instance::start(dir.path(), &bounds(1, "1h"));
    let stats = wait_uptime(&mut instance, Duration::from_secs(3));
    assert_eq!(workers(&stats), 4);
    put(dir.path(), &bounds(3, "1s"));
    assert!(reload(&mut instance, &SAID).contains("in force"));
    instance.wait_stats("one has gone", |stats| workers(stats) == 3);
    assert_eq!(instance.terminate(), 0);
}

#[test]
fn durations_are_recorded_by_pool_or_not_at_all() {
    for enabled in [true, false] {
        let dir = dir();
        let rest = format!(
            "dispatcher: {{ worker_count: 2, worker_pool: {{ enable_metrics: {enabled}, pools: {{ other: {{}} }} }} }}\n\
             sources: {{ in: {{ type: stdin, pipeline: p }} }}\npipelines: {{ p: {{ pool: other, steps: [] }} }}\n\
             sinks: {{ out: {{ type: blackhole }} }}\n"
        );
        let (mut instance, writer) = with_input(dir.path(), &rest, &lines(10, 50));
        let stats = instance.wait_delivered("out", 10);
        let blocks = stats["domains"][0]["next_ticket"].as_u64().expect("a number");
        let (_, page) = instance.get("/metrics");
        for name in
            ["processing_duration_seconds", "queue_wait_duration_seconds", "worker_task_duration_seconds"]
        {
            let count = |pool: &str| {
                let series = format!("dispatcher_{name}_count{{pool=\"{pool}\"}} ");
                page.lines().find_map(|line| line.strip_prefix(&series)).map(str::to_owned)
            };
            let expected = |count: u64| enabled.then(|| count.to_string());
            assert_eq!((count("other"), count("general")), (expected(blocks), expected(0)), "{name}");
            assert_eq!(page.contains(name), enabled, "{name}");
        }
        drop(writer.join().expect("no panic"));
        assert_eq!(instance.terminate(), 0);
    }
}

#[test]
fn a_pool_has_its_workers_on_its_cores_and_does_what_is_asked_of_it() {
    let all = cores(&fs::read_to_string("/proc/self/status").expect("it runs"));
    let core = all[all.len() - 1];
    let rest = |workers: &str, cores: &str, capabilities: &str, third: &str| {
        format!(
            "dispatcher: {{ worker_count: 1, worker_pool: {{ pools: {{ \
             heavy: {{ workers: {workers}, cores: {cores}, capabilities: {capabilities} }}, \
             other: {{ capabilities: [geo] }} }} }} }}\n\
             sources: {{ a: {{ type: file, include: [logs/a], pipeline: by_name }}, \
             b: {{ type: file, include: [logs/b], pipeline: by_need }}, \
             c: {{ type: file, include: [logs/c], pipeline: third }} }}\n\
             pipelines: {{ by_name: {{ pool: heavy, steps: [] }}, by_need: {{ needs: [geo], steps: [] }}, third: {third} }}\n\
             sinks: {{ out: {{ type: blackhole }} }}\n"
        )
    };
    let cases = [
        // Three in one block each; which pool does how much of what the three sources have: 1, 2 and 4 entries.
        (rest("2", &format!("[{core}]"), "[geo]", "[]"), 2, 2, Some(core), [4, 3, 0]),
        (rest("{ min: 1, max: 3 }", "[]", "[]", "{ pool: other, steps: [] }"), 1, 3, None, [0, 1, 6]),
    ];
    for (rest, min, max, core, expected) in cases {
        let dir = dir();
        for (name, count) in [("a", 1), ("b", 2), ("c", 4)] {
            write(&dir.path().join("logs").join(name), &lines(count, 50));
        }
        let mut instance = Instance::start(dir.path(), &config(&rest));
        let stats = instance.wait_delivered("out", 7);
        let row_of = |name| row(&stats["workers"], "pools", name);
        assert_eq!(["min", "max"].map(|key| number(row_of("heavy"), key)), [min, max]);
        let each = stats["workers"]["each"].as_array().expect("rows");
        let worked = |pool: &str| {
            let rows = each.iter().filter(|row| row["pool"] == pool);
            rows.map(|row| number(row, "processed_entries")).sum::<u64>()
        };
        assert_eq!(["general", "heavy", "other"].map(worked), expected, "{stats:#}");
        let named: Vec<_> =
            each.iter().filter(|row| row["pool"] == "heavy").map(|row| row["name"].clone()).collect();
        assert_eq!(named, (0..min).map(|n| format!("worker-heavy-{n}")).collect::<Vec<_>>());
        let thread = row(&stats, "threads", "worker-heavy-0");
        let status = fs::read_to_string(format!("/proc/{}/task/{}/status", instance.id(), thread["tid"]));
        let real = cores(&status.expect("it runs"));
        assert_eq!(real, core.map_or(all.clone(), |core| vec![core]));
        assert_eq!(instance.terminate(), 0);
    }
}
