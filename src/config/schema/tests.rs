use super::*;
use crate::config::EXAMPLE;

/// Why `value` is none of what the schema `of` allows: a validator of just what our schemas use.
fn refused(root: &Value, of: &Value, value: &Value, at: &str) -> Option<String> {
    if let Some(reference) = of["$ref"].as_str() {
        let name = reference.strip_prefix("#/$defs/").unwrap();
        return refused(root, &root["$defs"][name], value, at);
    }
    if let Some(all) = of["anyOf"].as_array() {
        let whys: Vec<_> = all.iter().map(|of| refused(root, of, value, at)).collect();
        if whys.iter().any(Option::is_none) {
            return None;
        }
        // The one of its type says best why.
        let named =
            |of: &Value| value["type"].is_string() && of["properties"]["type"]["const"] == value["type"];
        let best = all.iter().position(named);
        return best
            .and_then(|best| whys[best].clone())
            .or_else(|| Some(format!("{at}: {value} is none of {}", of["anyOf"])));
    }
    if let Some(allowed) = of.get("const") {
        return (allowed != value).then(|| format!("{at}: {value} is not {allowed}"));
    }
    if let Some(words) = of["enum"].as_array() {
        return (!words.contains(value)).then(|| format!("{at}: {value} is none of {words:?}"));
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let is = |name: &Value| name == kind || (name == "number" && kind == "integer");
    let fits = match &of["type"] {
        Value::Null => true,
        Value::Array(kinds) => kinds.iter().any(is),
        one => is(one),
    };
    if !fits {
        return Some(format!("{at}: {value} is no {}", of["type"]));
    }
    if let (Some(pattern), Some(text)) = (of["pattern"].as_str(), value.as_str())
        && !regex::Regex::new(pattern).unwrap().is_match(text)
    {
        return Some(format!("{at}: {text:?} does not match {pattern}"));
    }
    let missing = of["required"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|key| value.get(key.as_str().unwrap()).is_none());
    if let (Some(missing), true) = (missing, value.is_object()) {
        return Some(format!("{at}: {missing} is missing"));
    }
    for (key, inner) in value.as_object().into_iter().flatten() {
        let at = format!("{at}.{key}");
        let why = match (of["properties"].get(key), of.get("additionalProperties")) {
            (Some(property), _) => refused(root, property, inner, &at),
            (None, Some(Value::Bool(false))) => Some(format!("{at}: unknown")),
            (None, Some(others)) => refused(root, others, inner, &at),
            (None, None) => None,
        };
        if why.is_some() {
            return why;
        }
    }
    let items = value.as_array().into_iter().flatten();
    items.filter_map(|item| refused(root, of.get("items")?, item, &format!("{at}[]"))).next()
}

fn why(schema: &Value, text: &str) -> Option<String> {
    refused(schema, schema, &serde_yaml::from_str(text).unwrap(), "")
}

#[test]
fn the_example_is_accepted_as_it_stands_and_with_everything_switched_on() {
    let schema = schema();
    assert_eq!(why(&schema, EXAMPLE), None);
    assert_eq!(why(&schema, &EXAMPLE.replace("#:", "")), None);
}

#[test]
fn every_key_of_the_example_is_a_property_and_a_misspelt_one_is_refused() {
    let schema = schema();
    let text = EXAMPLE.replace("#:", "");
    let mut wrong = 0;
    for (at, line) in text.lines().enumerate() {
        let body = line.trim_start();
        let Some((key, _)) = body.split_once(':') else { continue };
        // Names that users give are free.
        let depth = line.len() - body.len();
        let is_key = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        let section = text
            .lines()
            .take(at + 1)
            .filter(|line| line.starts_with(|first: char| first.is_ascii_lowercase()))
            .last();
        let is_named = section.is_some_and(|section| ["sources:", "sinks:", "pipelines:"].contains(&section));
        let is_pool = at > 0
            && text.lines().nth(at - 1).is_some_and(|before| before.trim_start().starts_with("pools:"));
        if !is_key || is_pool || (is_named && depth == 2) {
            continue;
        }
        let misspelt = line.replacen(key, &format!("{key}x"), 1);
        let lines: Vec<&str> =
            text.lines().enumerate().map(|(n, line)| if n == at { &*misspelt } else { line }).collect();
        let text = lines.join("\n");
        let refused = crate::config::Config::parse("test", &text, &|_| Some("x".into())).is_err();
        assert_eq!(
            why(&schema, &text).is_some(),
            refused,
            "line {}, as the parser has it: {misspelt}",
            at + 1
        );
        wrong += usize::from(refused);
    }
    assert!(wrong > 50, "only {wrong} keys");
}

#[test]
fn values_of_the_wrong_type_are_refused_and_the_parser_agrees() {
    let schema = schema();
    let least = "sources: { in: { type: stdin } }\nsinks: { out: { type: blackhole } }\n";
    for (text, fine) in [
        ("dispatcher: { batch_timeout: 5s }", true),
        ("dispatcher: { batch_timeout: 5 }", false),
        ("dispatcher: { batch_timeout: soon }", false),
        ("dispatcher: { queue_size: 10 }", true),
        ("dispatcher: { queue_size: 10.5 }", false),
        ("dispatcher: { queue_size: many }", false),
        ("dispatcher: { worker_count: auto }", true),
        ("dispatcher: { worker_count: car }", false),
        ("quotas: { max_memory: 1GiB }", true),
        ("quotas: { max_memory: 1 elephant }", false),
        ("dispatcher: { retry_jitter: full }", true),
        ("dispatcher: { retry_jitter: half }", false),
        ("dispatcher: { backpressure: { enabled: true } }", true),
        ("dispatcher: { backpressure: { enabled: 1 } }", false),
        ("affinity: { workers: [0] }", true),
        ("affinity: { workers: none }", false),
        ("pipelines: { p: [ { parse: json } ] }", true),
        ("pipelines: { p: [ { parse: yaml } ] }", false),
        ("pipelines: { p: [ { parse: { format: json, on_error: discard } } ] }", true),
        ("pipelines: { p: [ { parse: { format: json, on_eror: discard } } ] }", false),
        ("dispatcher:", true),
        ("dispatcher: []", false),
    ] {
        let text = format!("{text}\n{least}");
        assert_eq!(why(&schema, &text).is_none(), fine, "schema: {text} {:?}", why(&schema, &text));
        assert_eq!(crate::config::Config::parse("test", &text, &|_| None).is_ok(), fine, "parser: {text}");
    }
}

#[test]
fn defaults_words_and_what_is_required_come_from_the_parser_and_the_example() {
    let schema = schema();
    let queue = &schema["properties"]["dispatcher"]["properties"]["queue_size"];
    assert_eq!(
        (&queue["default"], &queue["description"]),
        (&10_000.into(), &"entries each ring may hold".into())
    );
    let sinks = schema["properties"]["sinks"]["additionalProperties"]["anyOf"].as_array().unwrap();
    let file = sinks.iter().find(|sink| sink["title"] == "sink file").unwrap();
    assert_eq!(file["required"], json!(["path", "type"]));
    assert_eq!(file["properties"]["open_files"]["default"], 128);
    assert!(file["properties"]["rotate"]["properties"]["keep"]["description"].is_string());
}
