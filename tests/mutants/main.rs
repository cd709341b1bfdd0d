//! Takes each key's effect away and looks whether the test that shows it notices.
//!
//! `cargo test --test mutants [-- PART_OF_A_KEY...] [--jobs N]`; `RINGMAIN_BIN` names another binary.
//!
//! The tables of `tests/keys.rs` say which test shows which key. Such a test drives a binary; here it drives this one, which takes
//! the key out of the config it was given and becomes the real one: a key that is read and has no effect looks the same from
//! outside. A test that passes all the same shows nothing, and fails the run. Those beside the code of the product
//! (`src/...`) write no config: they are named, and left to be tried by hand.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test says with them what it relies on")]

mod run;
mod without;

use run::{Outcome, Tests};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Duration;

/// A key, and the test that shows it: its binary and its name there.
struct Shown {
    key: String,
    place: Place,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Test(String, String),
    Beside(String),
}

fn main() -> ExitCode {
    if let Some(key) = std::env::var_os("RINGMAIN_WITHOUT") {
        without::become_the_real_one(key.to_str().expect("a key"));
    }
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let jobs = args.iter().position(|arg| arg == "--jobs").map_or(1, |at| {
        let jobs = args.drain(at..(at + 2).min(args.len())).nth(1).and_then(|jobs| jobs.parse().ok());
        jobs.expect("`--jobs` and a number")
    });
    args.retain(|arg| !arg.starts_with('-'));
    let shown: Vec<Shown> = shown()
        .into_iter()
        .filter(|one| args.is_empty() || args.iter().any(|arg| one.key.contains(arg)))
        .collect();
    assert!(!shown.is_empty(), "no key has any of {args:?} in it");
    let failed = try_all(&shown, jobs);
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Tries all; whether any test shows nothing.
fn try_all(shown: &[Shown], jobs: usize) -> bool {
    let tests = Tests::build();
    // How long each takes when nothing is wrong: one that then takes far longer waits in vain.
    let usual: Mutex<BTreeMap<Place, Duration>> = Mutex::default();
    let (next, counts) = (Mutex::new(shown.iter()), Mutex::new([0; 4]));
    let tell = |kind: usize, word: &str, one: &Shown, more: &str| {
        counts.lock().unwrap()[kind] += 1;
        println!("{word:<7} {:<48} {more}", one.key);
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let Some(one) = next.lock().unwrap().next() else { return };
                    let Place::Test(binary, name) = &one.place else {
                        let Place::Beside(place) = &one.place else { continue };
                        tell(3, "beside", one, place);
                        continue;
                    };
                    let known = usual.lock().unwrap().get(&one.place).copied();
                    let took = known.or_else(|| tests.time(binary, name));
                    let Some(took) = took else {
                        tell(2, "BROKEN", one, &format!("{name} fails with the key in place"));
                        continue;
                    };
                    usual.lock().unwrap().insert(one.place.clone(), took);
                    match tests.without(&one.key, binary, name, took * 3 + Duration::from_secs(5)) {
                        Outcome::Red(why) => tell(0, "red", one, &why),
                        Outcome::Refused => tell(1, "needed", one, "the config is refused without it"),
                        Outcome::Green => tell(2, "GREEN", one, &format!("{name} passes without it")),
                        Outcome::Absent => {
                            tell(2, "ABSENT", one, &format!("{name} starts nothing that has it"))
                        }
                    }
                }
            });
        }
    });
    let [red, needed, wrong, beside] = *counts.lock().unwrap();
    println!("\n{red} red, {needed} refused without it, {beside} beside the code, {wrong} that show nothing");
    println!("{} passed, {wrong} failed", red + needed);
    wrong > 0
}

/// The tables of `tests/keys.rs` and the files beside it, read as text.
fn shown() -> Vec<Shown> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut files = vec![tests.join("keys.rs")];
    files.extend(
        std::fs::read_dir(tests.join("keys")).expect("keys").map(|entry| entry.expect("a file").path()),
    );
    files.sort();
    let mut all = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a test");
        let Some((_, table)) = text.split_once("SHOWN: &[(&str, &str)] = &[") else { continue };
        let (table, _) = table.split_once("\n];").unwrap_or((table.split_once("];").expect("an end").0, ""));
        let texts: Vec<&str> = table.split('"').skip(1).step_by(2).collect();
        for pair in texts.chunks(2) {
            all.push(Shown { key: pair[0].into(), place: place(pair[1]) });
        }
    }
    all
}

fn place(place: &str) -> Place {
    let (file, name) = place.split_once(':').unwrap_or(("tests/keys.rs", place));
    let Some(file) = file.strip_prefix("tests/") else { return Place::Beside(place.into()) };
    let file = file.strip_suffix(".rs").expect("a file of tests");
    match file.split_once('/') {
        Some((binary, module)) => Place::Test(binary.into(), format!("{module}::{name}")),
        None => Place::Test(file.into(), name.into()),
    }
}
