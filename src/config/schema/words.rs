//! What `config.example.yaml` says of the keys: the comments beside them, and values that can stand there.

use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::HashMap;

/// The example, everything in it switched on.
pub(super) struct Words {
    example: Value,
    /// By the path of the key, sources and sinks called by their types.
    said: HashMap<String, String>,
}

/// What a component needs, and what it fills in.
#[derive(Default)]
pub(super) struct Written {
    pub required: Vec<String>,
    pub defaults: Value,
}

impl Words {
    pub(super) fn of_example() -> Self {
        let text = crate::config::EXAMPLE.replace("#:", "");
        // The example is read by a test with everything switched on.
        let example: Value = serde_yaml::from_str(&text).unwrap_or_default();
        let mut said = HashMap::new();
        let mut path: Vec<(usize, String)> = Vec::new();
        for line in text.lines() {
            let indent = line.len() - line.trim_start().len();
            let body = line.trim_start();
            let Some((key, rest)) = body.split_once(':') else { continue };
            if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') {
                continue;
            }
            while path.last().is_some_and(|(above, _)| *above >= indent) {
                path.pop();
            }
            path.push((indent, key.to_owned()));
            if let Some((_, comment)) = rest.split_once(" # ") {
                let names: Vec<&str> = path.iter().map(|(_, name)| name.as_str()).collect();
                said.entry(by_type(&example, &names)).or_insert_with(|| comment.trim().to_owned());
            }
        }
        Words { example, said }
    }

    /// Adds to every property below `of`, which stands at `place`, what the example says of it.
    pub(super) fn describe(&self, of: &mut Value, place: &str) {
        let Some(properties) = of["properties"].as_object_mut() else { return };
        for (key, property) in properties {
            let place = if place.is_empty() { key.clone() } else { format!("{place}.{key}") };
            if let Some(said) = self.said.get(&place) {
                property["description"] = said.as_str().into();
            }
            if property.get("properties").is_some() {
                self.describe(property, &place);
            }
        }
    }

    /// What the component of type `name` cannot do without, and what it has where nothing is written.
    pub(super) fn written<T: Serialize>(
        &self,
        shelf: &str,
        name: &str,
        read: &dyn Fn(Value) -> Result<T, serde_json::Error>,
    ) -> Written {
        let components = self.example[shelf].as_object().into_iter().flat_map(Map::values);
        let Some(example) = components.into_iter().find(|component| component["type"] == name) else {
            return Written::default();
        };
        let mut least = Map::new();
        let mut required = Vec::new();
        loop {
            let kind = match read(Value::Object(least.clone())) {
                Ok(kind) => kind,
                Err(error) => {
                    let error = error.to_string();
                    let missing = error.strip_prefix("missing field `").and_then(|rest| rest.split_once('`'));
                    let Some((missing, _)) = missing else {
                        return Written { required, defaults: Value::Null };
                    };
                    if least.insert(missing.to_owned(), example[missing].clone()).is_some() {
                        return Written { required, defaults: Value::Null };
                    }
                    required.push(missing.to_owned());
                    continue;
                }
            };
            // As `{ type: { keys } }`.
            let filled = serde_json::to_value(kind).unwrap_or_default();
            let mut defaults =
                filled.as_object().and_then(|of| of.values().next()).cloned().unwrap_or_default();
            if let Some(defaults) = defaults.as_object_mut() {
                defaults.retain(|key, _| !least.contains_key(key));
            }
            return Written { required, defaults };
        }
    }
}

/// The path with the type of a source or sink in place of its name.
fn by_type(example: &Value, names: &[&str]) -> String {
    let kind = match names {
        [shelf @ ("sources" | "sinks"), name, ..] => example[*shelf][*name]["type"].as_str(),
        _ => None,
    };
    let named = |(at, name): (usize, &&str)| {
        if at == 1 { kind.unwrap_or(name).to_owned() } else { (*name).to_owned() }
    };
    names.iter().enumerate().map(named).collect::<Vec<_>>().join(".")
}
