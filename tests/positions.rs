//! Positions on disk: shown and changed by `ringmain positions`, and damaged in every way a disk or a person can.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test says with them what it relies on")]

mod support;

use serde_json::Value;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use support::*;

const CONFIG: &str = r#"
data_dir: state
admin: { listen: "127.0.0.1:0" }
sources:
  app: { type: file, include: ["logs/*.log"], rescan: 200ms }
  other: { type: file, include: ["other/*.log"], rescan: 200ms }
sinks: { out: { type: file, path: "out/{source}.log" } }
"#;

fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).expect("opened");
    file.write_all(text.as_bytes()).expect("written");
}

fn lines(stream: &str, numbers: std::ops::Range<u64>) -> String {
    numbers.map(|n| line(stream, n, 100) + "\n").collect()
}

/// Logs of two sources, read and left.
fn read_and_stopped() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    for name in ["logs", "other"] {
        fs::create_dir(dir.path().join(name)).expect("created");
    }
    for (path, stream) in [("logs/a.log", "a"), ("logs/b.log", "b"), ("other/c.log", "c")] {
        append(&dir.path().join(path), &lines(stream, 0..20));
    }
    let mut instance = Instance::start(dir.path(), CONFIG);
    instance.wait_delivered("out", 60);
    assert_eq!(instance.terminate(), 0);
    dir
}

fn list(dir: &Path, more: &[&str]) -> Vec<Value> {
    let args = [&["positions", "list", "--json", "--data-dir", "state"], more].concat();
    let (code, out, err) = run(dir, &args);
    assert_eq!(code, 0, "{err}");
    serde_json::from_str(&out).expect("a list in JSON")
}

fn names(rows: &[Value]) -> Vec<String> {
    let name = |row: &Value| {
        PathBuf::from(row["path"].as_str().expect("a path")).file_name().map(|name| name.to_owned())
    };
    rows.iter().filter_map(name).map(|name| name.to_string_lossy().into_owned()).collect()
}

/// Starts it, waits until nothing is left to read, and says how many lines came out of each stream in all.
fn read_on(dir: &Path) -> Vec<u64> {
    let mut instance = Instance::start(dir, CONFIG);
    instance.wait_stats("caught up", |stats| {
        at_rest(stats)
            && ["app", "other"].iter().all(|source| {
                let row = row(stats, "sources", source);
                number(row, "lag_bytes") == 0 && number(row, "streams") >= 1
            })
    });
    assert_eq!(instance.terminate(), 0);
    let recount = Recount::of(&dir.join("out"));
    assert!(recount.foreign.is_empty(), "{:?}", recount.foreign);
    ["a", "b", "c"]
        .iter()
        .map(|stream| recount.streams.get(*stream).map_or(0, |all| all.len() as u64))
        .collect()
}

#[test]
fn list_shows_every_file_and_how_far_it_was_read() {
    let dir = read_and_stopped();
    append(&dir.path().join("logs/b.log"), "0123456789\n");
    fs::rename(dir.path().join("logs/a.log"), dir.path().join("logs/a.log.1")).expect("renamed");
    fs::remove_file(dir.path().join("other/c.log")).expect("removed");
    let rows = list(dir.path(), &[]);
    assert_eq!(names(&rows), ["a.log", "b.log", "c.log"]);
    let of = |key: &str| rows.iter().map(|row| row[key].clone()).collect::<Vec<_>>();
    let size = 20 * 101;
    assert_eq!(of("source"), ["app", "app", "other"]);
    assert_eq!(of("offset"), [size, size, size]);
    assert_eq!(of("size"), [Value::from(size), Value::from(size + 11), Value::Null]);
    assert_eq!(of("behind"), [Value::from(0), Value::from(11), Value::Null]);
    assert!(rows[0]["now_at"].as_str().is_some_and(|now| now.ends_with("a.log.1")));
    assert!(rows[1]["last_seen"].as_str().is_some_and(|seen| seen.starts_with("20") && seen.ends_with('Z')));
    assert_eq!(names(&list(dir.path(), &["--source", "other"])), ["c.log"]);
    assert_eq!(names(&list(dir.path(), &["--path", "/**/b.*"])), ["b.log"]);
    let (code, out, _) = run(dir.path(), &["positions", "list", "-c", "config.yaml"]);
    assert_eq!(code, 0);
    assert_eq!(out.lines().count(), 4, "{out}");
    assert!(out.contains("behind") && out.contains("(not there)") && out.contains("(now "), "{out}");
}

#[test]
fn reset_puts_positions_where_it_is_told_and_says_what_it_did() {
    let dir = read_and_stopped();
    let before = list(dir.path(), &[]);
    let reset =
        |args: &[&str]| run(dir.path(), &[&["positions", "reset", "--data-dir", "state"], args].concat());
    let (code, out, err) = reset(&["--to", "beginning", "--path", "/**/a.log"]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.starts_with("app: ") && out.ends_with("a.log: from byte 2020 to 0\n"), "{out}");
    let (code, out, _) = reset(&["--to", "505", "--source", "other"]);
    assert!(code == 0 && out.ends_with("c.log: from byte 2020 to 505\n"), "{out}");
    append(&dir.path().join("logs/b.log"), &lines("b", 20..30));
    let (code, out, _) = reset(&["--to", "end", "--path", "/**/b.log"]);
    assert!(code == 0 && out.ends_with("b.log: from byte 2020 to 3030\n"), "{out}");
    let offsets: Vec<_> = list(dir.path(), &[]).iter().map(|row| row["offset"].clone()).collect();
    assert_eq!((offsets, before.len()), (vec![0.into(), 3030.into(), 505.into()], 3));
    // All of a again, nothing of b, three quarters of c.
    assert_eq!(read_on(dir.path()), [40, 20, 20 + 15]);
    assert_eq!(read_on(dir.path()), [40, 20, 35], "and once only");
}

#[test]
fn reset_refuses_what_it_cannot_do_and_leaves_the_rest_as_it_was() {
    let dir = read_and_stopped();
    let reset =
        |args: &[&str]| run(dir.path(), &[&["positions", "reset", "--data-dir", "state"], args].concat());
    let (code, _, err) = reset(&["--to", "99999"]);
    assert!(code == 3 && err.contains("only 2020 bytes") && err.contains("3 of 3"), "{err}");
    let (code, _, err) = reset(&["--to", "end", "--source", "nobody"]);
    assert!(code == 2 && err.contains("no position matches"), "{err}");
    let (code, _, err) = reset(&["--to", "middle"]);
    assert!(code == 2 && err.contains("beginning"), "{err}");
    let (code, _, err) = run(dir.path(), &["positions", "list", "--data-dir", "nowhere"]);
    assert!(code == 3 && err.contains("no directory"), "{err}");
    assert_eq!(read_on(dir.path()), [20, 20, 20]);
}

#[test]
fn neither_touches_the_directory_of_one_that_runs() {
    let dir = read_and_stopped();
    let instance = Instance::start(dir.path(), CONFIG);
    for args in [&["list"][..], &["reset", "--to", "beginning"]] {
        let (code, out, err) = run(dir.path(), &[&["positions"], args, &["-c", "config.yaml"]].concat());
        assert!(code == 3 && out.is_empty() && err.contains("is using"), "{err}");
    }
    assert_eq!(instance.terminate(), 0);
    assert_eq!(read_on(dir.path()), [20, 20, 20]);
}

/// One way a checkpoint can be found.
fn damage(random: &mut fastrand::Rng, state: &Path) {
    let names = ["positions", "positions.prev", "positions.fast"];
    let path = state.join(names[random.usize(..names.len())]);
    if !path.is_file() {
        return;
    }
    let bytes = fs::read(&path).expect("it can be read");
    match random.u32(..9) {
        0 => fs::write(&path, ""),
        1 => fs::write(&path, &bytes[..bytes.len() / 2]),
        2 => {
            let all = names.iter().map(|name| state.join(name)).filter(|path| !path.is_dir());
            all.into_iter().try_for_each(|path| fs::write(path, "not a checkpoint of ours"))
        }
        3 => fs::write(state.join("positions.tmp"), &bytes[..random.usize(..=bytes.len())])
            .and_then(|()| fs::write(state.join("positions.fast.tmp"), "half")),
        4 => {
            let mut later = bytes;
            later.get_mut(8).into_iter().for_each(|version| *version = 200);
            fs::write(&path, later)
        }
        5 => fs::remove_file(&path),
        6 => {
            let mut permissions = fs::metadata(&path).expect("it is there").permissions();
            permissions.set_readonly(true);
            fs::set_permissions(&path, permissions)
        }
        7 => {
            let mut flipped = bytes;
            for _ in 0..random.usize(1..20) {
                let at = random.usize(..flipped.len().max(1));
                flipped.get_mut(at).into_iter().for_each(|byte| *byte ^= random.u8(1..));
            }
            fs::write(&path, flipped)
        }
        _ => {
            // A directory where the file should be.
            let _ = fs::remove_file(&path);
            fs::create_dir(&path)
        }
    }
    .expect("it can be damaged");
}

#[test]
fn whatever_became_of_the_checkpoint_it_starts_and_nothing_is_lost() {
    let rounds = std::env::var("RINGMAIN_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(5) * 2;
    let seed = std::env::var("RINGMAIN_SEED").ok().and_then(|text| text.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed} (set RINGMAIN_SEED to run it again)");
    let mut random = fastrand::Rng::with_seed(seed);
    let dir = read_and_stopped();
    let state = dir.path().join("state");
    let (mut written, mut twice_max, mut warned) = (20, 0, 0);
    let aside = || -> Vec<PathBuf> {
        let all = fs::read_dir(&state).expect("a directory").flatten().map(|entry| entry.path());
        all.filter(|path| path.to_string_lossy().contains(".bad")).collect()
    };
    for round in 0..rounds {
        for path in aside() {
            fs::remove_file(&path).or_else(|_| fs::remove_dir(&path)).expect("removed");
        }
        for _ in 0..random.u32(1..4) {
            damage(&mut random, &state);
        }
        // Everything may come again: at most once per round, as all of it is still there.
        twice_max += written;
        for (path, stream) in [("logs/a.log", "a"), ("logs/b.log", "b"), ("other/c.log", "c")] {
            append(&dir.path().join(path), &lines(stream, written..written + 10));
        }
        written += 10;
        let mut instance = Instance::start(dir.path(), CONFIG);
        instance.wait_stats("caught up", |stats| {
            let all = |source, files| {
                let row = row(stats, "sources", source);
                number(row, "lag_bytes") == 0
                    && number(row, "streams") == files
                    && number(row, "received") >= 10 * files
            };
            at_rest(stats) && all("app", 2) && all("other", 1)
        });
        let (unusable, log) = (aside(), instance.log());
        assert_eq!(!unusable.is_empty(), log.contains("cannot be used"), "{unusable:?}\n{log}");
        warned += u32::from(!unusable.is_empty());
        if random.bool() {
            assert!(instance.terminate() == 0, "seed {seed}, round {round}");
        } else {
            instance.kill();
        }
        let recount = Recount::of(&dir.path().join("out"));
        for stream in ["a", "b", "c"] {
            let (lost, twice) = recount.lost_and_twice(stream, written);
            assert_eq!(lost, 0, "seed {seed}, round {round}: lost of {stream}");
            assert!(twice <= twice_max, "seed {seed}, round {round}: {twice} of {stream} twice");
        }
        assert!(recount.foreign.is_empty(), "seed {seed}: {:?}", recount.foreign.first());
    }
    println!("{rounds} damages of up to three kinds, {warned} warnings");
}
