//! The JSON schema of the config (draft 2020-12), asked of the parser itself.
//!
//! Keys and types come from the very code that reads the file (see `probe`), defaults from the values it fills in, the
//! words from the comments of `config.example.yaml`. There is no list to be kept up.

mod probe;
mod words;

use super::PipelineKeys;
use super::cases::TestConfig;
use super::keys::GeneralConfig;
use crate::sinks::config::{SinkKeys, SinkKind};
use crate::sources::config::{SourceKeys, SourceKind};
use crate::steps::config::StepConfig;
use probe::{Asked, Probe, Sample, Step, Stop, ask};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use words::{Words, Written};

/// Deeper than any config is.
const DEPTH_MAX: usize = 12;

/// How a type is read.
type Read<'a, T> = dyn Fn(Probe<'_>) -> Result<T, Stop> + 'a;

/// The schema.
pub fn schema() -> Value {
    let words = Words::of_example();
    let mut root = shape(&|probe| GeneralConfig::deserialize(probe), &mut Vec::new());
    add_defaults(&mut root, &serde_json::to_value(GeneralConfig::default()).unwrap_or_default());
    let shelf = |of: Value| json!({ "type": ["object", "null"], "additionalProperties": of });
    let source = |name: &'static str| Own {
        shape: shape(&|probe| SourceKind::read(name, probe), &mut Vec::new()),
        written: words.written("sources", name, &|keys| SourceKind::read(name, keys)),
    };
    let sources = component::<SourceKeys>(SourceKind::TYPES, "sources", &words, &source);
    let sink = |name: &'static str| Own {
        shape: shape(&|probe| SinkKind::read(name, probe), &mut Vec::new()),
        written: words.written("sinks", name, &|keys| SinkKind::read(name, keys)),
    };
    let sinks = component::<SinkKeys>(SinkKind::TYPES, "sinks", &words, &sink);
    let step = shape(&|probe| StepConfig::deserialize(probe), &mut Vec::new());
    let steps = json!({ "type": ["array", "null"], "items": step });
    let mut pipeline = shape(&|probe| PipelineKeys::deserialize(probe), &mut Vec::new());
    if let Some(properties) = pipeline["properties"].as_object_mut() {
        properties.insert("steps".into(), steps.clone());
    }
    pipeline["type"] = "object".into();
    pipeline["required"] = json!(["steps"]);
    let shelves = [
        ("sources", shelf(sources)),
        ("pipelines", shelf(json!({ "anyOf": [steps, pipeline] }))),
        ("sinks", shelf(sinks)),
        ("tests", shelf(shape(&|probe| TestConfig::deserialize(probe), &mut Vec::new()))),
    ];
    if let Some(properties) = root["properties"].as_object_mut() {
        properties.extend(shelves.map(|(name, of)| (name.to_owned(), of)));
    }
    words.describe(&mut root, "");
    root["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    root["title"] = "Ringmain's config".into();
    root["$defs"] = json!({
        "variable": { "type": "string", "pattern": "\\$\\{", "description": "an environment variable: ${NAME}" }
    });
    root
}

/// What a type of source or sink has of its own.
struct Own {
    shape: Value,
    written: Written,
}

/// What may stand under a name in `sources` or `sinks`: the keys of each type with the common ones.
fn component<T: for<'de> Deserialize<'de>>(
    types: &[&'static str],
    shelf: &str,
    words: &Words,
    own: &dyn Fn(&'static str) -> Own,
) -> Value {
    let common = shape(&|probe| T::deserialize(probe), &mut Vec::new());
    let one = |name: &&'static str| {
        let Own { shape: mut of, written } = own(name);
        if let (Some(properties), Some(common)) =
            (of["properties"].as_object_mut(), common["properties"].as_object())
        {
            properties.extend(common.clone());
            properties.insert("type".into(), json!({ "const": name }));
        }
        of["type"] = "object".into();
        of["title"] = format!("{} {name}", shelf.trim_end_matches('s')).into();
        of["required"] = written.required.iter().map(String::as_str).chain(["type"]).collect();
        add_defaults(&mut of, &written.defaults);
        words.describe(&mut of, &format!("{shelf}.{name}"));
        of
    };
    json!({ "anyOf": types.iter().map(one).collect::<Vec<_>>() })
}

/// The schema of what `read` takes at the end of `path`.
fn shape<T>(read: &Read<'_, T>, path: &mut Vec<Step>) -> Value {
    if path.len() > DEPTH_MAX {
        return json!({});
    }
    match ask(read, path, None) {
        Some(Asked::Struct(fields)) => keys(read, path, fields),
        Some(Asked::Enum(variants)) => choice(read, path, variants),
        Some(Asked::Map) => {
            let of = below(read, path, Step::Key("x".into()));
            json!({ "type": ["object", "null"], "additionalProperties": of })
        }
        Some(Asked::List) => json!({ "type": "array", "items": below(read, path, Step::Item) }),
        Some(Asked::Bool) => or_variable(vec![json!({ "type": "boolean" })]),
        Some(Asked::Whole) => or_variable(vec![json!({ "type": "integer", "minimum": 0 })]),
        Some(Asked::Number) => or_variable(vec![json!({ "type": "number" })]),
        Some(Asked::Text) => json!({ "type": "string" }),
        Some(Asked::Any(expected)) => by_trying(read, path, &expected),
        Some(Asked::Word | Asked::Taken(_)) | None => json!({}),
    }
}

/// A map of these keys and no others.
fn keys<T>(read: &Read<'_, T>, path: &mut Vec<Step>, fields: &[&str]) -> Value {
    let of = |field: &&str| ((*field).to_owned(), below(read, path, Step::Key((*field).to_owned())));
    let properties: Map<String, Value> = fields.iter().map(of).collect();
    json!({ "type": ["object", "null"], "properties": properties, "additionalProperties": false })
}

fn below<T>(read: &Read<'_, T>, path: &mut Vec<Step>, step: Step) -> Value {
    path.push(step);
    let of = shape(read, path);
    path.pop();
    of
}

/// One of some words, or a map of one of them.
fn choice<T>(read: &Read<'_, T>, path: &mut Vec<Step>, variants: &[&'static str]) -> Value {
    let (mut words, mut maps) = (Vec::new(), Vec::new());
    for variant in variants {
        path.push(Step::Variant(variant));
        match ask(read, path, None) {
            Some(Asked::Word) => words.push(*variant),
            _ => {
                let properties = Map::from_iter([((*variant).to_owned(), shape(read, path))]);
                maps.push(json!({
                    "type": "object", "properties": properties, "required": [variant], "additionalProperties": false
                }));
            }
        }
        path.pop();
    }
    if !words.is_empty() {
        maps.push(json!({ "enum": words }));
    }
    if words.is_empty() { any_of(maps) } else { or_variable(maps) }
}

/// What a parser takes that looks at values itself: found out by giving it some. `expected` is what it says it wants;
/// the words in backticks there are tried too.
fn by_trying<T>(read: &Read<'_, T>, path: &mut Vec<Step>, expected: &str) -> Value {
    let takes = |sample: Sample| ask(read, path, Some(&sample)) == Some(Asked::Taken(true));
    let says = |text: &str| takes(Sample::Text(text.to_owned()));
    let mut all = Vec::new();
    if says("any text at all") {
        all.push(json!({ "type": "string" }));
    } else {
        let duration = "^[0-9]+(ns|us|ms|s|m|h|d)$";
        let size = "^[0-9]+ *([KMGT]i?B|B)?$";
        let patterns = [(duration, "2h"), (size, "2KiB")].into_iter().filter(|(_, sample)| says(sample));
        all.extend(patterns.map(|(pattern, _)| json!({ "type": "string", "pattern": pattern })));
        let is_word = |word: &&str| !word.starts_with(|first: char| first.is_ascii_digit()) && says(word);
        // Who refuses a word of a fixed set says which there are.
        let words: Vec<&str> = match ask(read, path, Some(&Sample::Text("any text at all".into()))) {
            Some(Asked::Enum(known)) => known.iter().copied().filter(|word| says(word)).collect(),
            _ => expected.split('`').skip(1).step_by(2).filter(is_word).collect(),
        };
        if !words.is_empty() {
            all.push(json!({ "enum": words }));
        }
    }
    match (takes(Sample::Number), takes(Sample::Whole)) {
        (true, _) => all.push(json!({ "type": "number" })),
        (false, true) => all.push(json!({ "type": "integer", "minimum": 0 })),
        (false, false) => {}
    }
    if takes(Sample::Bool) {
        all.push(json!({ "type": "boolean" }));
    }
    let (is_list, is_map) = (takes(Sample::List), takes(Sample::Map));
    path.push(Step::Item);
    let has_items = ask(read, path, None).is_some();
    path.pop();
    if has_items {
        all.push(json!({ "type": "array", "items": below(read, path, Step::Item) }));
    } else if is_list {
        all.push(json!({ "type": "array" }));
    }
    match ask(read, path, Some(&Sample::StrangeKey)) {
        Some(Asked::Struct(fields)) => all.push(keys(read, path, fields)),
        _ if is_map => all.push(json!({ "type": ["object", "null"] })),
        _ => {}
    }
    // Nothing it took: then nothing is said of it.
    if all.is_empty() { json!({}) } else { or_variable(all) }
}

fn or_variable(mut all: Vec<Value>) -> Value {
    all.push(json!({ "$ref": "#/$defs/variable" }));
    any_of(all)
}

fn any_of(mut all: Vec<Value>) -> Value {
    match all.len() {
        1 => all.remove(0),
        _ => json!({ "anyOf": all }),
    }
}

/// Says of each property which value it has when it is not written.
fn add_defaults(of: &mut Value, defaults: &Value) {
    let (Some(properties), Some(defaults)) = (of["properties"].as_object_mut(), defaults.as_object()) else {
        return;
    };
    for (key, default) in defaults {
        match properties.get_mut(key) {
            Some(property) if default.is_object() && property.get("properties").is_some() => {
                add_defaults(property, default);
            }
            Some(property) => property["default"] = default.clone(),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests;
