//! The `file` sink: rotation, retention, and how many files there may be.

use super::*;
use std::os::unix::fs::MetadataExt;

/// Each key, and the test that shows it.
pub const SHOWN: &[(&str, &str)] = &[
    ("sinks.file.max_files", "tests/keys/files.rs:names_beyond_max_files_share_a_file"),
    (
        "sinks.file.rotate.max_size",
        "tests/keys/files.rs:files_are_rotated_by_size_kept_by_number_and_packed_as_asked",
    ),
    ("sinks.file.rotate.every", "tests/keys/files.rs:a_file_is_rotated_when_its_period_is_over"),
    (
        "sinks.file.rotate.keep",
        "tests/keys/files.rs:files_are_rotated_by_size_kept_by_number_and_packed_as_asked",
    ),
    ("sinks.file.rotate.max_age", "tests/keys/files.rs:rotated_files_go_when_they_are_too_old"),
    (
        "sinks.file.rotate.compress",
        "tests/keys/files.rs:files_are_rotated_by_size_kept_by_number_and_packed_as_asked",
    ),
];

fn names(dir: &Path) -> Vec<String> {
    let name = |path: std::path::PathBuf| path.file_name().expect("a name").to_string_lossy().into_owned();
    files(dir).into_iter().map(name).collect()
}

/// Waits until `is_so` says yes to the names in `dir`. Nothing tells when a thread that sleeps for a second is done.
fn wait_names(instance: &mut Instance, dir: &Path, is_so: impl Fn(&[String]) -> bool) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while !is_so(&names(dir)) {
        assert!(std::time::Instant::now() < deadline, "{:?}\n{}", names(dir), instance.log());
        instance.stats();
    }
}

#[test]
fn names_beyond_max_files_share_a_file() {
    let dir = dir();
    let sink =
        |name: &str, max: &str| format!("{name}: {{ type: file, path: \"{name}/{{fields.n}}.log\"{max} }}");
    let mut instance = Instance::start(
        dir.path(),
        &config(&format!(
            "pipelines: {{ p: [ {{ parse: json }} ] }}\nsources: {{ in: {{ type: stdin, pipeline: p }} }}\nsinks:\n  {}\n  {}\n",
            sink("all", ""),
            sink("few", ", max_files: 3")
        )),
    );
    let mut stdin = instance.stdin();
    let text: String = (0..10).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    stdin.write_all(text.as_bytes()).expect("it reads");
    instance.wait_delivered("all", 10);
    let stats = instance.wait_delivered("few", 10);
    assert_eq!(names(&dir.path().join("all")).len(), 10);
    assert_eq!(names(&dir.path().join("few")), ["0.log", "1.log", "2.log", "__overflow__"]);
    assert_eq!(lines_of(&dir.path().join("few/__overflow__")).len(), 7);
    assert_eq!((sink_number(&stats, "all"), sink_number(&stats, "few")), (0, 7));
    instance.wait_log("max_files");
}

fn sink_number(stats: &Value, name: &str) -> u64 {
    sink(stats, name, "overflowed")
}

#[test]
fn files_are_rotated_by_size_kept_by_number_and_packed_as_asked() {
    let dir = dir();
    let sink = |name: &str, rotate: &str| {
        format!(
            "  {name}: {{ type: file, path: {name}/a.log, batch: {{ max_entries: 1 }}, rotate: {{ {rotate} }} }}\n"
        )
    };
    let sinks = [
        sink("plain", "max_size: 100B"),
        sink("larger", "max_size: 250B"),
        sink("few", "max_size: 100B, keep: 2"),
        sink("gz", "max_size: 100B, compress: gzip"),
        sink("zst", "max_size: 100B, compress: zstd, keep: 1"),
    ]
    .concat();
    let mut instance = Instance::start(
        dir.path(),
        &config(&format!("sources: {{ in: {{ type: stdin }} }}\nsinks:\n{sinks}")),
    );
    let mut stdin = instance.stdin();
    stdin.write_all(lines(8, 99).as_bytes()).expect("it reads");
    for sink in ["plain", "larger", "few", "gz", "zst"] {
        instance.wait_delivered(sink, 8);
    }
    let path = |name: &str| dir.path().join(name);
    let of = |name: &str| names(&path(name));
    assert_eq!((of("plain").len(), of("larger").len()), (8, 4));
    assert!(files(&path("larger")).iter().all(|file| file.metadata().expect("it is there").size() == 200));
    wait_names(&mut instance, &path("few"), |names| names.len() == 3);
    let packed = |names: &[String], end: &str| names.iter().filter(|name| name.ends_with(end)).count();
    wait_names(&mut instance, &path("gz"), |names| packed(names, ".gz") == 7 && names.len() == 8);
    wait_names(&mut instance, &path("zst"), |names| packed(names, ".zst") == 1 && names.len() == 2);
    let mut recount = Recount::default();
    for file in files(&path("gz")) {
        let file = fs::File::open(file).expect("it is there");
        let mut text = String::new();
        let mut magic = [0; 2];
        let is_packed = std::os::unix::fs::FileExt::read_at(&file, &mut magic, 0).expect("read") == 2
            && magic == [0x1f, 0x8b];
        match is_packed {
            true => flate2::read::GzDecoder::new(file).read_to_string(&mut text).expect("gzip"),
            false => (&file).read_to_string(&mut text).expect("text"),
        };
        recount.add(&text);
    }
    assert_eq!(recount.lost_and_twice("s", 8), (0, 0));
}

#[test]
fn a_file_is_rotated_when_its_period_is_over() {
    let dir = dir();
    let mut instance = Instance::start(
        dir.path(),
        &config(
            "sources: { in: { type: stdin } }\nsinks:\n  never: { type: file, path: never/a.log, rotate: { keep: 5 } }\n  \
             often: { type: file, path: often/a.log, rotate: { every: 1s } }\n",
        ),
    );
    instance.stdin().write_all(b"x\n").expect("it reads");
    for sink in ["never", "often"] {
        instance.wait_delivered(sink, 1);
    }
    wait_names(
        &mut instance,
        &dir.path().join("often"),
        |names| matches!(names, [name] if name.starts_with("a.log-")),
    );
    assert_eq!(names(&dir.path().join("never")), ["a.log"]);
}

#[test]
fn rotated_files_go_when_they_are_too_old() {
    let dir = dir();
    for sink in ["kept", "aged"] {
        write(&dir.path().join(sink).join("a.log-20010101T000000"), "old\n");
    }
    let mut instance = Instance::start(
        dir.path(),
        &config(
            "sources: { in: { type: stdin } }\nsinks:\n  kept: { type: file, path: kept/a.log, rotate: { every: 1d } }\n  \
             aged: { type: file, path: aged/a.log, rotate: { max_age: 30d } }\n",
        ),
    );
    wait_names(&mut instance, &dir.path().join("aged"), <[String]>::is_empty);
    assert_eq!(names(&dir.path().join("kept")), ["a.log-20010101T000000"]);
}
