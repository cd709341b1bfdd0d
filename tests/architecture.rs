//! Keeps the arrows of ARCHITECTURE.md true by reading `src/`: who may import whom, and who may do what.
//!
//! Only shipped code counts: comments, strings and what stands under `#[cfg(test)]` are not looked at.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test says with them what it relies on")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The floors, top first. A module imports from floors below its own, and within its floor from those to its right.
const FLOORS: &[&str] = &[
    "cli",
    "dispatcher",
    "engine",
    "config admin",
    "worker sequencer delivery lane tap",
    "sources steps sinks buffer",
    "route expr checkpoint payload batch ledger ack",
    "block pool labels entry",
    "auth simd ring thread cpu_limit metrics logs clock time units sys storage_io http tls secret",
];
/// Where `unsafe` may stand: these modules and what is below them.
const UNSAFE: &[&str] = &["ring", "pool", "sys", "simd"];
/// Where threads may be started.
const THREADS: &[&str] = &["thread", "engine"];
/// Folders to which things of one kind are added, each with the catalog that names them all.
const SHELVES: [(&str, &str); 3] =
    [("sources", "pub enum SourceKind "), ("steps", "pub enum StepConfig "), ("sinks", "pub enum SinkKind ")];
/// Most lines of a file before its tests.
const LINES_MAX: usize = 450;
/// How an item says that it is only for tests.
const TEST: [&str; 2] = ["#[cfg(test)]", "#[cfg(all(test"];

#[test]
fn the_source_keeps_the_arrows() {
    let mut files = Vec::new();
    collect(Path::new("src"), &mut files);
    assert!(files.len() > 50, "only {} files found", files.len());
    let broken = broken(&files);
    assert!(broken.is_empty(), "{} broken:\n{}", broken.len(), broken.join("\n"));
}

/// Reads the Rust files below `dir`: path below `src/`, text.
fn collect(dir: &Path, files: &mut Vec<(String, String)>) {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a directory entry").path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix("src").expect("it is below").display().to_string();
            files.push((name, fs::read_to_string(&path).expect("source can be read")));
        }
    }
}

/// All rules that `files` break, in words.
fn broken(files: &[(String, String)]) -> Vec<String> {
    let code: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), shipped(&bare(text)))).collect();
    let tests: BTreeSet<String> =
        files.iter().flat_map(|(path, text)| test_files(path, &bare(text))).collect();
    let mut broken = Vec::new();
    // A file of tests, or one in the folder of that name.
    let is_test = |path: &str| {
        tests
            .iter()
            .any(|test| path == test || path.starts_with(&format!("{}/", test.trim_end_matches(".rs"))))
    };
    for (path, code) in code.iter().filter(|(path, _)| !is_test(path)) {
        let module = path.trim_end_matches(".rs").trim_end_matches("/mod").replace('/', "::");
        let mut found = imports_broken(&module, code);
        found.extend(deeds_broken(&module, code));
        broken.extend(found.into_iter().map(|what| format!("{path}: {what}")));
    }
    for (shelf, catalog) in SHELVES {
        let mut inside = code.iter().filter(|(path, _)| path.starts_with(&format!("{shelf}/")));
        if !inside.any(|(_, code)| code.contains(catalog)) {
            broken.push(format!("{shelf}: no catalog, `{catalog}`"));
        }
    }
    broken
}

/// Whom `module` imports and may not.
fn imports_broken(module: &str, code: &str) -> Vec<String> {
    let top = module.split("::").next().unwrap_or_default();
    match (top, place(top)) {
        ("main", _) => Vec::new(),
        // The floors and the crate name the same modules.
        ("lib", _) => FLOORS
            .iter()
            .flat_map(|floor| floor.split(' '))
            .filter(|name| !code.contains(&format!("pub mod {name};")))
            .map(|name| format!("{name} is not among the modules"))
            .collect(),
        (_, None) => vec![format!("{top} stands on no floor")],
        (_, Some(own)) => imports(code, module.split("::").count())
            .into_iter()
            .filter(|import| import != top && place(import).is_none_or(|other| other < own))
            .map(|import| format!("{top} may not import {import}"))
            .collect(),
    }
}

/// The floor of a module and its place within it.
fn place(module: &str) -> Option<(usize, usize)> {
    let on = |floor: &&str| floor.split(' ').position(|name| name == module);
    FLOORS.iter().enumerate().find_map(|(at, floor)| Some((at, on(floor)?)))
}

/// What `module` does and may not.
fn deeds_broken(module: &str, code: &str) -> Vec<String> {
    let is_in =
        |rooms: &[&str]| rooms.iter().any(|room| module == *room || module.starts_with(&format!("{room}::")));
    let mut words = code.split(|c: char| !is_word(c));
    let mut found = Vec::new();
    if !is_in(UNSAFE) && words.any(|word| word == "unsafe") {
        found.push("unsafe outside of its rooms".into());
    }
    let starts = ["spawn", "Builder", "scope"].map(|how| format!("thread::{how}"));
    if !is_in(THREADS) && starts.iter().any(|how| code.contains(how)) {
        found.push("starts a thread itself".into());
    }
    if code.lines().count() > LINES_MAX {
        found.push(format!("{} lines, more than {LINES_MAX}", code.lines().count()));
    }
    found
}

/// The modules at the root that code at `depth` below it names, by `crate::` or by climbing with `super::`.
fn imports(code: &str, depth: usize) -> BTreeSet<String> {
    // `pub(in crate::x)` says who may see, not who is seen.
    let code = code.replace("in crate::", "");
    let climb = "super::".repeat(depth);
    let rests = |path: &str, from: &str| -> Vec<&str> {
        let starts = code.match_indices(path).map(|(at, _)| at).filter(|at| !code[..*at].ends_with(from));
        starts.map(|at| &code[at + path.len()..]).collect()
    };
    let name = |text: &str| text.chars().take_while(|c| is_word(*c)).collect::<String>();
    let names = |rest: &str| -> Vec<String> {
        match rest.strip_prefix('{') {
            Some(group) => members(group).iter().map(|member| name(member.trim_start())).collect(),
            None => vec![name(rest)],
        }
    };
    let named = rests("crate::", "$").into_iter().flat_map(names);
    // Within a module of a file it climbs less far, to names that are not at the root.
    let climbed = rests(&climb, "super::").into_iter().flat_map(names).filter(|name| place(name).is_some());
    named.chain(climbed).collect()
}

/// The members of a group such as `a, b::{c, d}}`, cut at the brace that ends it.
fn members(group: &str) -> Vec<&str> {
    let (mut open, mut start, mut members) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => open += 1,
            '}' | ',' if open == 0 => {
                members.extend(Some(&group[start..at]).filter(|member| !member.trim().is_empty()));
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            '}' => open -= 1,
            _ => {}
        }
    }
    members
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// `text` without comments and with empty strings, its lines kept.
fn bare(text: &str) -> String {
    let (mut rest, mut out) = (text, String::with_capacity(text.len()));
    while let Some(c) = rest.chars().next() {
        let after_word = out.chars().next_back().is_some_and(is_word);
        let (skip, instead) = match c {
            '/' if rest.starts_with("//") => (rest.find('\n').unwrap_or(rest.len()), ""),
            '/' if rest.starts_with("/*") => (rest.find("*/").map_or(rest.len(), |at| at + 2), ""),
            '"' => (1 + quoted(&rest[1..], '"'), "\"\""),
            'r' if !after_word && raw_hashes(rest).is_some() => {
                let end = format!("\"{}", "#".repeat(raw_hashes(rest).unwrap_or(0)));
                let body = 1 + end.len();
                (rest[body..].find(&end).map_or(rest.len(), |at| body + at + end.len()), "\"\"")
            }
            // A character; anything else behind a tick is a lifetime.
            '\'' if rest[1..].starts_with('\\') || rest[1..].chars().nth(1) == Some('\'') => {
                (1 + quoted(&rest[1..], '\''), "' '")
            }
            _ => (c.len_utf8(), &rest[..c.len_utf8()]),
        };
        out += instead;
        if instead != &rest[..skip] {
            out.extend(rest[..skip].matches('\n'));
        }
        rest = &rest[skip..];
    }
    out
}

/// The length of what a literal holds, with the `quote` that ends it.
fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    let end = rest.char_indices().find(|(_, c)| {
        let ends = *c == quote && !escaped;
        escaped = *c == '\\' && !escaped;
        ends
    });
    end.map_or(rest.len(), |(at, _)| at + 1)
}

/// How many hashes the raw string has that `rest` begins with.
fn raw_hashes(rest: &str) -> Option<usize> {
    let hashes = rest.strip_prefix('r')?;
    let quote = hashes.trim_start_matches('#');
    quote.starts_with('"').then(|| hashes.len() - quote.len())
}

/// Bare code without the items under `#[cfg(test)]`.
fn shipped(code: &str) -> String {
    let (mut out, mut rest) = (String::new(), code);
    while let Some(at) = TEST.iter().filter_map(|attribute| rest.find(attribute)).min() {
        out += &rest[..at];
        let mut open = 0;
        let end = rest[at..].char_indices().find(|(_, c)| {
            open += i32::from(*c == '{') - i32::from(*c == '}');
            open == 0 && matches!(c, ';' | '}')
        });
        rest = end.map_or("", |(length, _)| &rest[at + length + 1..]);
    }
    out + rest
}

/// The files that stand for `mod name;` under `#[cfg(test)]` in the bare code of `path`.
fn test_files(path: &str, code: &str) -> Vec<String> {
    let attributes = TEST.iter().flat_map(|test| code.match_indices(test).map(|(at, _)| &code[at..]));
    let declared = attributes.filter_map(|rest| {
        let item = rest.lines().map(str::trim).find(|line| !line.starts_with("#["))?;
        Some(item.strip_suffix(';')?.split_once("mod ")?.1)
    });
    let folder = path.trim_end_matches(".rs").trim_end_matches("/mod").trim_end_matches("lib");
    declared.map(|name| format!("{folder}/{name}.rs").trim_start_matches('/').to_string()).collect()
}

#[test]
fn every_rule_can_be_broken() {
    for (path, text, words) in [
        ("ring/mod.rs", "use crate::block::Block;", "ring may not import block"),
        (
            "ring/mod.rs",
            "use crate::{\n    thread,\n    pool::{Pool, Pages},\n};",
            "ring may not import pool",
        ),
        ("sinks/file.rs", "fn a() { crate::delivery::retry() }", "sinks may not import delivery"),
        ("sinks/file.rs", "use super::super::engine::Engine;", "sinks may not import engine"),
        ("worker.rs", "use super::config::Config;", "worker may not import config"),
        ("clock.rs", "use crate::thread::Row;", "clock may not import thread"),
        ("clock.rs", "use crate::nowhere::Row;", "clock may not import nowhere"),
        ("lane/mod.rs", "#[cfg(test)]\nuse a::b;\nuse crate::cli;", "lane may not import cli"),
        ("lane/mod.rs", "#[cfg(test)]\nmod tests {\n}\nuse crate::cli;", "lane may not import cli"),
        ("attic.rs", "fn a() {}", "attic stands on no floor"),
        ("lib.rs", "pub mod cli;", "engine is not among the modules"),
        ("lane/mod.rs", "fn a() { unsafe { b() } }", "unsafe outside of its rooms"),
        ("lane/mod.rs", "fn a() { std::thread::spawn(b); }", "starts a thread itself"),
        ("lane/mod.rs", "fn a() { thread::Builder::new(); }", "starts a thread itself"),
        ("lane/mod.rs", &"// why\n".repeat(LINES_MAX + 1), "451 lines, more than 450"),
        ("sinks/config.rs", "struct A;", "sinks: no catalog"),
    ] {
        assert!(planted(path, text).contains(words), "{words}:\n{}", planted(path, text));
    }
}

#[test]
fn what_is_allowed_is_not_complained_of() {
    let text = r##"//! Like crate::engine, but not 'static.
use crate::thread::{Row, cli}; // unlike crate::cli
fn a<'a>() -> &'a str { "crate::cli \" unsafe \\" }
fn b() -> (char, char, &str) { ('"', '\'', r#"use " crate::cli"#) }
/* crate::cli */ pub(in crate::lane) fn c() {}
#[cfg(test)]
#[cfg(not(loom))]
pub(crate) mod testing;
#[cfg(test)]
mod tests {
    use crate::engine;
    fn d() {
        std::thread::spawn(e);
    }
}
"##;
    assert_eq!(planted("lane/mod.rs", text), "");
    assert_eq!(test_files("lane/mod.rs", &bare(text)), ["lane/testing.rs"]);
    assert_eq!(test_files("lane.rs", &bare(text)), ["lane/testing.rs"]);
    assert_eq!(bare(text).lines().count(), text.lines().count());
}

/// What is broken in a small sound crate, one file of which is replaced.
fn planted(path: &str, text: &str) -> String {
    let roof = FLOORS.join(" ").split(' ').map(|name| format!("pub mod {name};\n")).collect();
    let mut files = vec![("lib.rs".to_string(), roof)];
    files.extend(SHELVES.map(|(shelf, catalog)| (format!("{shelf}/config.rs"), format!("{catalog}{{}}"))));
    files.retain(|(name, _)| name != path);
    files.push((path.into(), text.into()));
    broken(&files).join("\n")
}
