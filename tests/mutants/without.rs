//! Becomes the real binary, with a key taken out of its config.

use serde_yaml::{Mapping, Value};
use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Never returns.
pub fn become_the_real_one(key: &str) -> ! {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    let file = args.iter().position(|arg| arg == "-c" || arg == "--config").and_then(|at| args.get(at + 1));
    let mut command = Command::new(std::env::var_os("RINGMAIN_REAL").expect("RINGMAIN_REAL"));
    command.env_remove("RINGMAIN_WITHOUT");
    if let Some(file) = file
        && let Ok(text) = fs::read_to_string(file)
        && let Ok(mut config) = serde_yaml::from_str::<Value>(&text)
        && take_out(&mut config, key)
    {
        fs::write(file, serde_yaml::to_string(&config).expect("YAML")).expect("written");
        mark(&mut command, file);
    }
    let error = command.args(args).exec();
    panic!("{error}");
}

/// Leaves word that a config had the key, and whether it is refused without it.
fn mark(command: &mut Command, file: &std::ffi::OsStr) {
    let check = Command::new(command.get_program()).arg("check").arg("-c").arg(file).output();
    let refused = !check.expect("it runs").status.success();
    let path = std::env::var_os("RINGMAIN_WITHOUT_MARK").expect("RINGMAIN_WITHOUT_MARK");
    let mut marks = fs::OpenOptions::new().append(true).create(true).open(path).expect("opened");
    writeln!(marks, "{}", if refused { "refused" } else { "taken" }).expect("written");
}

/// Takes `key` out wherever it stands: names of sources, sinks, pipelines and fields are the user's, so the key says types
/// and steps instead. What is written short (`parse: json` for `parse: { format: json }`) goes as a whole. Keys that sources
/// or sinks of all types share, or have over those of the dispatcher, may be shown with others. Whether there was any.
fn take_out(config: &mut Value, key: &str) -> bool {
    let path: Vec<&str> = key.split('.').collect();
    match (path[0], &path[1..]) {
        (section @ ("sources" | "sinks"), [kind, rest @ ..]) => {
            in_parts(config, section, Some(kind), rest) || in_parts(config, section, None, rest)
        }
        (section @ ("pipelines" | "tests"), rest) => {
            let Some(section) = config.get_mut(section) else { return false };
            (1..=rest.len()).rev().any(|len| remove(section, &rest[..len]))
        }
        ("dispatcher", rest) if !has(config, &path) => ["sources", "sinks"]
            .into_iter()
            .fold(false, |any, section| in_parts(config, section, None, rest) | any),
        _ => remove(config, &path),
    }
}

fn has(config: &Value, path: &[&str]) -> bool {
    path.iter().try_fold(config, |value, key| value.get(*key)).is_some()
}

/// The same in the sources or sinks of a type, or of any.
fn in_parts(config: &mut Value, section: &str, kind: Option<&str>, path: &[&str]) -> bool {
    let Some(Value::Mapping(parts)) = config.get_mut(section) else { return false };
    let of_type =
        |part: &&mut Value| kind.is_none_or(|kind| part.get("type").and_then(Value::as_str) == Some(kind));
    let mut parts: Vec<&mut Value> = parts.iter_mut().map(|(_, part)| part).filter(of_type).collect();
    (1..=path.len())
        .rev()
        .any(|len| parts.iter_mut().fold(false, |any, part| remove(part, &path[..len]) | any))
}

/// Removes what `path` leads to, below names of any kind.
fn remove(value: &mut Value, path: &[&str]) -> bool {
    match value {
        Value::Sequence(all) => {
            let any = all.iter_mut().fold(false, |any, one| remove(one, path) | any);
            all.retain(|one| one.as_mapping().is_none_or(|map| !map.is_empty()));
            any
        }
        Value::Mapping(map) => match (map.contains_key(path[0]), path) {
            (true, [last]) => map.remove(*last).is_some(),
            (true, [first, rest @ ..]) => map.get_mut(*first).is_some_and(|inner| remove(inner, rest)),
            _ => below(map, path),
        },
        _ => false,
    }
}

fn below(map: &mut Mapping, path: &[&str]) -> bool {
    map.iter_mut().fold(false, |any, (_, inner)| remove(inner, path) | any)
}
