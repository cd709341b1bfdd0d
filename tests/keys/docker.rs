//! The `docker` source, against an engine that is played, and the `format` of the file source.

use super::*;
use support::engine::{Container, Engine, Message, T0};

/// Each key, and the test that shows it.
pub const SHOWN: &[(&str, &str)] = &[
    ("sources.docker.type", "tests/keys/docker.rs:containers_are_picked_by_name_image_and_label"),
    ("sources.docker.socket", "tests/keys/docker.rs:each_source_asks_the_engine_at_its_socket"),
    ("sources.docker.include.names", "tests/keys/docker.rs:containers_are_picked_by_name_image_and_label"),
    ("sources.docker.include.images", "tests/keys/docker.rs:containers_are_picked_by_name_image_and_label"),
    ("sources.docker.include.labels", "tests/keys/docker.rs:containers_are_picked_by_name_image_and_label"),
    ("sources.docker.exclude.names", "tests/keys/docker.rs:containers_are_picked_by_name_image_and_label"),
    ("sources.docker.exclude.images", "tests/keys/docker.rs:containers_are_picked_by_name_image_and_label"),
    ("sources.docker.exclude.labels", "tests/keys/docker.rs:containers_are_picked_by_name_image_and_label"),
    ("sources.docker.container_labels", "tests/keys/docker.rs:containers_are_picked_by_name_image_and_label"),
    (
        "sources.docker.read_from",
        "tests/keys/docker.rs:logs_are_read_from_where_cut_where_and_joined_as_asked",
    ),
    (
        "sources.docker.max_line",
        "tests/keys/docker.rs:logs_are_read_from_where_cut_where_and_joined_as_asked",
    ),
    (
        "sources.docker.partial_memory",
        "tests/keys/docker.rs:long_lines_that_have_not_ended_go_out_cut_beyond_their_memory",
    ),
    ("sources.docker.rescan", "tests/keys/docker.rs:what_no_event_tells_is_found_by_the_rescan"),
    (
        "sources.docker.timeout",
        "tests/keys/docker.rs:an_engine_that_does_not_answer_is_given_up_after_the_timeout",
    ),
    (
        "sources.docker.connections",
        "tests/keys/docker.rs:no_more_logs_are_open_than_there_may_be_connections",
    ),
    ("sources.file.format", "tests/keys/docker.rs:the_lines_of_files_are_read_as_their_format_says"),
];

fn engine(dir: &Path) -> Engine {
    Engine::start(&dir.join("engine.sock"))
}

fn container(id: &str, image: &str, labels: &[(&str, &str)]) -> Container {
    let pairs = labels.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    let (id, name, image) = (id.to_owned(), format!("name-{id}"), image.to_owned());
    Container { id, name, image, labels: pairs.collect(), ..Container::default() }
}

/// A source for each of `sources` (its name and its keys), each with a file of its own.
fn start(dir: &Path, engine: &Engine, sources: &[(&str, &str)]) -> Instance {
    let socket = engine.socket.display();
    let source = |(name, keys): &(&str, &str)| {
        format!("  {name}: {{ type: docker, socket: \"{socket}\", labels: {{ of: {name} }}, {keys} }}\n")
    };
    let sink = |(name, _): &(&str, &str)| {
        format!(
            "  {name}: {{ type: file, path: {name}.json, format: json, when: 'labels.of == \"{name}\"' }}\n"
        )
    };
    let sources_text: String = sources.iter().map(source).collect();
    let sinks: String = sources.iter().map(sink).collect();
    Instance::start(dir, &config(&format!("sources:\n{sources_text}sinks:\n{sinks}")))
}

fn entries(dir: &Path, name: &str) -> Vec<Value> {
    let text = fs::read_to_string(dir.join(format!("{name}.json"))).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn messages(dir: &Path, name: &str) -> Vec<String> {
    let text = |entry: &Value| entry["message"].as_str().expect("a message").to_owned();
    let mut all: Vec<String> = entries(dir, name).iter().map(text).collect();
    all.sort();
    all
}

#[test]
fn containers_are_picked_by_name_image_and_label() {
    let dir = dir();
    let engine = engine(dir.path());
    for (id, image, labels) in [
        ("a", "shop/web:1", &[("log", "yes"), ("com.x.team", "one")][..]),
        ("b", "shop/web:2", &[("log", "no")]),
        ("c", "db:1", &[("com.x.team", "two")]),
    ] {
        engine.add(container(id, image, labels));
        engine.say(id, T0, id);
    }
    let wanted = [
        ("all", "", "a b c"),
        ("names", "include: { names: [\"name-[ab]\"] }", "a b"),
        ("images", "include: { images: [\"shop/*\"] }", "a b"),
        ("values", "include: { labels: [\"log=y*\"] }", "a"),
        ("known", "include: { labels: [\"com.x.team\"] }", "a c"),
        ("both", "include: { images: [\"shop/*\"], labels: [\"log=no\"] }", "b"),
        ("no_names", "exclude: { names: [\"*-b\"] }", "a c"),
        ("no_images", "exclude: { images: [\"*:1\"] }", "b"),
        ("no_labels", "exclude: { labels: [\"log\"] }", "c"),
        ("own", "container_labels: [\"com.*\"]", "a b c"),
    ];
    let sources = wanted.map(|(name, keys, _)| (name, keys));
    let mut instance = start(dir.path(), &engine, &sources);
    for (name, _, containers) in wanted {
        let containers: Vec<&str> = containers.split(' ').collect();
        instance.wait_delivered(name, containers.len() as u64);
        assert_eq!(messages(dir.path(), name), containers, "{name}");
        instance.wait_stats("all are shown", |stats| {
            number(row(stats, "sources", name), "containers_total") == containers.len() as u64
        });
    }
    let labelled = |name: &str| {
        let label = |entry: &Value| entry["labels"]["com_x_team"].as_str().map(String::from);
        entries(dir.path(), name).iter().filter_map(label).collect::<BTreeSet<String>>()
    };
    assert_eq!(labelled("own"), ["one", "two"].map(String::from).into());
    assert!(labelled("all").is_empty());
}

#[test]
fn each_source_asks_the_engine_at_its_socket() {
    let dir = dir();
    let engines = [engine(dir.path()), Engine::start(&dir.path().join("other.sock"))];
    for (engine, id) in engines.iter().zip(["a", "b"]) {
        engine.add(container(id, "x", &[]));
        engine.say(id, T0, id);
    }
    let source = |name: &str, socket: String| {
        format!("  {name}: {{ type: docker, socket: \"{socket}\", labels: {{ of: {name} }} }}\n")
    };
    let first = source("first", engines[0].socket.display().to_string());
    let second = source("second", format!("unix://{}", engines[1].socket.display()));
    let sinks = "sinks: { out: { type: file, path: 'out/{labels.of}.log' } }\n";
    let mut instance = Instance::start(dir.path(), &config(&format!("sources:\n{first}{second}{sinks}")));
    instance.wait_delivered("out", 2);
    assert_eq!(lines_of(&dir.path().join("out/first.log")), ["a"]);
    assert_eq!(lines_of(&dir.path().join("out/second.log")), ["b"]);
}

#[test]
fn logs_are_read_from_where_cut_where_and_joined_as_asked() {
    let dir = dir();
    let engine = engine(dir.path());
    engine.add(container("a", "x", &[]));
    let long = format!("Two {}", "x".repeat(100));
    for (at, text) in ["One".to_owned(), " more".into(), long.clone()].iter().enumerate() {
        engine.say("a", T0 + at as i64, text);
    }
    let sources = [
        ("all", ""),
        ("late", "read_from: end"),
        ("short", "max_line: 64B"),
        ("events", "multiline: { start: \"^[A-Z]\", timeout: 100ms }"),
    ];
    let mut instance = start(dir.path(), &engine, &sources);
    for (name, lines) in [
        ("all", &[" more", "One", &long][..]),
        ("short", &[" more", "One", &long[..64]]),
        ("events", &["One\n more", &long]),
    ] {
        instance.wait_delivered(name, lines.len() as u64);
        assert_eq!(messages(dir.path(), name), lines, "{name}");
    }
    assert_eq!(number(row(&instance.stats(), "sources", "short"), "cut"), 1);
    // It counts as listed when it is shown; and what is said after that is by our clock.
    instance.wait_stats("listed", |stats| number(row(stats, "sources", "late"), "containers_total") == 1);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_nanos() as i64;
    engine.say("a", now.max(T0 + 10), "late");
    instance.wait_delivered("late", 1);
    assert_eq!(messages(dir.path(), "late"), ["late"]);
}

#[test]
fn what_no_event_tells_is_found_by_the_rescan() {
    let dir = dir();
    let engine = engine(dir.path());
    engine.add(container("a", "x", &[]));
    engine.say("a", T0, "a");
    let mut instance = start(dir.path(), &engine, &[("often", "rescan: 100ms"), ("seldom", "rescan: 1h")]);
    instance.wait_delivered("often", 1);
    instance.wait_delivered("seldom", 1);
    engine.faults(|faults| faults.no_events = true);
    engine.add(container("b", "x", &[]));
    engine.say("b", T0, "b");
    instance.wait_delivered("often", 2);
    let shown = |stats: &Value, name: &str| number(row(stats, "sources", name), "containers_total");
    instance.wait_stats("both", |stats| (shown(stats, "often"), shown(stats, "seldom")) == (2, 1));
}

#[test]
fn an_engine_that_does_not_answer_is_given_up_after_the_timeout() {
    let dir = dir();
    let engine = engine(dir.path());
    engine.faults(|faults| faults.list_silent = true);
    let mut instance = start(dir.path(), &engine, &[("short", "timeout: 100ms"), ("long", "timeout: 1h")]);
    let log = instance.wait_log("source short: the engine cannot be asked");
    assert!(log.contains("within 100ms"), "{log}");
    assert!(!instance.log().contains("source long: "));
}

#[test]
fn no_more_logs_are_open_than_there_may_be_connections() {
    let dir = dir();
    let engine = engine(dir.path());
    for id in ["a", "b", "c"] {
        engine.add(container(id, "x", &[]));
        engine.say(id, T0, id);
    }
    let mut instance = start(dir.path(), &engine, &[("few", "connections: 2"), ("many", "")]);
    instance.wait_delivered("many", 3);
    instance.wait_delivered("few", 2);
    let open = |stats: &Value, name: &str| number(row(stats, "sources", name), "streams");
    instance.wait_stats("two and three", |stats| (open(stats, "few"), open(stats, "many")) == (2, 3));
    instance.wait_stats("told", |stats| {
        let why = &row(stats, "sources", "few")["unwell"];
        why == "all `connections` are in use, containers that wait: 1"
            && row(stats, "sources", "many")["unwell"].is_null()
    });
    // Whoever ends makes room.
    engine.set_running("a", false);
    engine.set_running("b", false);
    instance.wait_delivered("few", 3);
}

#[test]
fn long_lines_that_have_not_ended_go_out_cut_beyond_their_memory() {
    let dir = dir();
    let engine = engine(dir.path());
    let piece = |ends| Message { err: false, time: T0, text: "x".repeat(100 << 10), ends };
    for id in ["a", "b", "c"] {
        engine.add(container(id, "x", &[]));
        engine.message(id, piece(false));
    }
    let sources = [("little", "partial_memory: 256KiB"), ("much", "partial_memory: 1MiB")];
    let mut instance = start(dir.path(), &engine, &sources);
    instance.wait_delivered("little", 1);
    assert_eq!(number(row(&instance.stats(), "sources", "little"), "cut"), 1);
    ["a", "b", "c"].iter().for_each(|id| engine.message(id, piece(true)));
    instance.wait_delivered("much", 3);
    assert_eq!(number(row(&instance.stats(), "sources", "much"), "cut"), 0);
    assert_eq!(messages(dir.path(), "much"), vec!["x".repeat(200 << 10); 3]);
}

#[test]
fn the_lines_of_files_are_read_as_their_format_says() {
    let dir = dir();
    let id = "ab".repeat(32);
    let docker = dir.path().join(format!("docker/{id}/{id}-json.log"));
    let time = r#""time":"2026-11-28T04:15:46.5Z""#;
    let message = |log: &str, stream: &str| format!("{{\"log\":\"{log}\",\"stream\":\"{stream}\",{time}}}\n");
    let text =
        [message("one ", "stdout"), message("error\\n", "stderr"), message("line\\n", "stdout")].concat();
    write(&docker, &text);
    write(&docker.with_file_name("config.v2.json"), r#"{"Name":"/web","Config":{"Image":"shop/web:1"}}"#);
    let pod = dir.path().join("pods/shop_web-1_12-34/nginx/0.log");
    write(&pod, "2026-11-28T04:15:46.5Z stdout P a pod's \n2026-11-28T04:15:46.6Z stdout F line\n");
    let globs = format!("include: [\"{0}/docker/*/*.log\", \"{0}/pods/**/*.log\"]", dir.path().display());
    let source = |name: &str, format: &str| {
        format!("  {name}: {{ type: file, {globs}, labels: {{ of: {name} }}{format} }}\n")
    };
    let sink = |name: &str| {
        format!(
            "  {name}: {{ type: file, path: {name}.json, format: json, when: 'labels.of == \"{name}\"' }}\n"
        )
    };
    let all = [
        ("plain", ""),
        ("auto", ", format: auto"),
        ("docker", ", format: docker_json"),
        ("cri", ", format: cri"),
    ];
    let sources: String = all.iter().map(|(name, format)| source(name, format)).collect();
    let sinks: String = all.iter().map(|(name, _)| sink(name)).collect();
    let mut instance = Instance::start(dir.path(), &config(&format!("sources:\n{sources}sinks:\n{sinks}")));
    for (name, count) in [("plain", 5), ("auto", 3), ("docker", 4), ("cri", 4)] {
        instance.wait_delivered(name, count);
        assert_eq!(messages(dir.path(), name).len() as u64, count, "{name}");
    }
    assert_eq!(messages(dir.path(), "auto"), ["a pod's line", "error", "one line"]);
    assert_eq!(messages(dir.path(), "docker")[2..], ["error", "one line"]);
    let auto = entries(dir.path(), "auto");
    let of = |text: &str| auto.iter().find(|entry| entry["message"] == text).expect("it came");
    let label = |text: &str, name: &str| of(text)["labels"][name].as_str().unwrap_or("none").to_owned();
    for (text, name, value) in [
        ("one line", "container_id", &*id),
        ("one line", "container_name", "web"),
        ("one line", "image", "shop/web:1"),
        ("one line", "stream", "stdout"),
        ("error", "stream", "stderr"),
        ("a pod's line", "namespace", "shop"),
        ("a pod's line", "pod", "web-1"),
        ("a pod's line", "container_name", "nginx"),
    ] {
        assert_eq!(label(text, name), value, "{name} of {text}");
    }
    assert_eq!(of("one line")["time"], "2026-11-28T04:15:46.500000000Z");
    assert!(entries(dir.path(), "plain").iter().all(|entry| entry["labels"]["stream"].is_null()));
}
