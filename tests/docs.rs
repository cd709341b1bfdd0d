//! The pages under `docs/` speak of what there is: every type, step and metric, with configs that work and links that lead
//! somewhere.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test says with them what it relies on")]

mod support;

use ringmain::config::{Config, Host, TextChecks};
use ringmain::sinks::config::SinkKind;
use ringmain::sources::config::SourceKind;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use support::Instance;

fn pages() -> Vec<(PathBuf, String)> {
    let mut pages = vec!["README.md".into(), "ARCHITECTURE.md".into()];
    let mut folders = vec![PathBuf::from("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of pages") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => folders.push(path),
                false if path.extension().is_some_and(|extension| extension == "md") => pages.push(path),
                false => {}
            }
        }
    }
    pages.into_iter().map(|path| (path.clone(), fs::read_to_string(&path).expect("a page"))).collect()
}

/// What stands between fences of `kind`.
fn fenced<'a>(text: &'a str, kind: &str) -> impl Iterator<Item = &'a str> {
    let open = format!("```{kind}\n");
    let parts: Vec<&str> = text.split(&open).skip(1).collect();
    parts.into_iter().map(|part| part.split("```").next().unwrap_or(part))
}

#[test]
fn every_type_has_its_page_with_a_config() {
    let kinds = [("sources", SourceKind::TYPES), ("sinks", SinkKind::TYPES)];
    for (shelf, types) in kinds {
        for kind in types {
            let path = format!("docs/{shelf}/{kind}.md");
            let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
            let shown = fenced(&text, "yaml").any(|config| config.contains(&format!("type: {kind}")));
            assert!(shown, "{path} shows no config of its type");
        }
    }
}

/// All keys below `node` of the schema, with their defaults as they are written.
fn keys_of(node: &Value, path: &str, keys: &mut BTreeMap<String, String>) {
    if let Some(properties) = node["properties"].as_object() {
        return properties.iter().for_each(|(name, node)| keys_of(node, &format!("{path}.{name}"), keys));
    }
    let default = match &node["default"] {
        Value::Null => "none".into(),
        Value::String(text) => format!("`{text}`"),
        Value::Number(number) => format!("`{}`", number.as_f64().expect("a number")),
        other => format!("`{other}`"),
    };
    keys.insert(path.to_owned(), default);
}

#[test]
fn the_page_of_keys_has_every_one_with_its_default() {
    let schema = ringmain::config::schema::schema();
    let mut there = BTreeMap::new();
    for section in ["data_dir", "admin", "dispatcher", "quotas", "affinity"] {
        keys_of(&schema["properties"][section], section, &mut there);
    }
    assert!(there.len() > 30, "the schema has only {there:?}");
    let page = fs::read_to_string("docs/keys.md").expect("the page");
    let table = page.split("| key | default | meaning |").nth(1).expect("its table");
    let told: BTreeMap<String, String> = table
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| `")?.split(" | ");
            Some((cells.next()?.trim_end_matches('`').to_owned(), cells.next()?.to_owned()))
        })
        .collect();
    assert_eq!(told, there);
    let without = |line: &&str| line.starts_with("| `") && line.ends_with("|  |");
    assert_eq!(table.lines().filter(without).count(), 0, "a key says nothing of itself");
}

#[test]
fn configs_on_the_pages_are_understood() {
    let mut whole = 0;
    for (path, text) in pages() {
        for config in fenced(&text, "yaml") {
            let place = format!("{}:\n{config}", path.display());
            let is_whole = config.contains("sources:") && config.contains("sinks:");
            if !is_whole {
                serde_yaml::from_str::<serde_json::Value>(config)
                    .unwrap_or_else(|error| panic!("{error} in {place}"));
                continue;
            }
            whole += 1;
            // On a host with cores for every example.
            let host = Host { cores: (0..64).collect(), parallelism: 64, ..Host::here() };
            let checks = TextChecks::default();
            if let Err(report) = Config::parse_for("page", config, &|_| Some("x".into()), &host, &checks) {
                panic!("{}\nin {place}", report.render(false));
            }
        }
    }
    assert!(whole >= 5, "only {whole} whole configs were found");
}

#[test]
fn links_between_pages_lead_somewhere() {
    let mut links = 0;
    for (path, text) in pages() {
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.starts_with("http") || target.starts_with('#') || target.contains(' ') {
                continue;
            }
            links += 1;
            let file = target.split('#').next().unwrap_or(target);
            let leads = path.parent().unwrap_or(Path::new("")).join(file);
            assert!(leads.exists(), "{}: {target} leads nowhere", path.display());
        }
    }
    assert!(links >= 20, "only {links} links were found");
}

#[test]
fn every_metric_is_explained_and_every_explained_one_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut instance = Instance::start(
        dir.path(),
        "data_dir: state\nadmin: { listen: \"127.0.0.1:0\" }\nsources: { in: { type: stdin, pipeline: p } }\n\
         pipelines: { p: [ { set: { a: 1 } }, { dedupe: {} } ] }\n\
         sinks: { out: { type: console, buffer: { type: disk } } }\n",
    );
    instance.stdin().write_all(b"a line\n").expect("it reads");
    instance.wait_delivered("out", 1);
    let (_, metrics) = instance.get("/metrics");
    let there: BTreeSet<String> = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .map(|line| line.split(' ').next().expect("a name").to_string())
        .collect();
    let page = fs::read_to_string("docs/metrics.md").unwrap();
    let tables = page.split("## Alerts").next().expect("its first part");
    let explained: BTreeSet<String> = tables
        .split('`')
        .filter(|word| word.starts_with("dispatcher_") || word.starts_with("process_"))
        .map(String::from)
        .collect();
    let missing: Vec<_> = there.difference(&explained).collect();
    let gone: Vec<_> = explained.difference(&there).collect();
    assert!(missing.is_empty() && gone.is_empty(), "not explained: {missing:?}; not there: {gone:?}");
}

/// The rules, their names aside: expression, what to do.
fn rules() -> Vec<(String, String)> {
    let file = fs::read_to_string("packaging/alerts.yaml").unwrap();
    let value: serde_yaml::Value = serde_yaml::from_str(&file).unwrap();
    let rules = value["groups"][0]["rules"].as_sequence().expect("rules");
    let text = |value: &serde_yaml::Value| value.as_str().expect("a text").to_string();
    rules.iter().map(|rule| (text(&rule["expr"]), text(&rule["annotations"]["docs"]))).collect()
}

#[test]
fn the_alerts_of_the_page_are_those_of_the_rules_and_each_rule_names_metrics_and_a_page_that_are_there() {
    let page = fs::read_to_string("docs/metrics.md").unwrap();
    let (tables, alerts) = page.split_once("## Alerts").expect("both parts");
    let rows = alerts.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| alert |"));
    let told: Vec<&str> = rows.map(|row| row.split('`').nth(1).expect("an expression")).collect();
    let rules = rules();
    let shipped: Vec<&str> = rules.iter().map(|(expression, _)| expression.as_str()).collect();
    assert_eq!(told, shipped);
    for (expression, docs) in &rules {
        let words = expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let metrics: Vec<&str> = words.filter(|word| word.starts_with("dispatcher_")).collect();
        assert!(!metrics.is_empty() && Path::new(docs).exists(), "{expression} {docs}");
        // Those tables are compared with what there is, above.
        for metric in metrics {
            assert!(tables.contains(&format!("`{metric}`")), "{metric}");
        }
    }
}
