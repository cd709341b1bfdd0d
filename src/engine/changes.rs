//! What another config would change: a pure comparison of two, and its words.

use crate::buffer::config::{BufferConfig, WhenFull};
use crate::config::describe::flat;
use crate::config::keys::GeneralConfig;
use crate::config::{Config, PipelineConfig, SinkConfig, SourceConfig};
use serde::Serialize;
use serde_yaml::Value;
use std::fmt;

/// The general keys that can change while the engine runs, by how they begin: they become part of sources and sinks, or
/// are only looked at when their time comes. All others take a restart.
const MAY_CHANGE: [&str; 14] = [
    "quotas.",
    "dispatcher.batch_size",
    "dispatcher.batch_timeout",
    "dispatcher.max_retries",
    "dispatcher.retry_",
    "dispatcher.auth_grace",
    "dispatcher.drain_timeout",
    "dispatcher.backpressure.strategy",
    "dispatcher.flow_control.",
    "dispatcher.circuit_breaker.",
    "dispatcher.rate_limit",
    "dispatcher.worker_pool.min_workers",
    "dispatcher.worker_pool.max_workers",
    "dispatcher.worker_pool.idle_timeout",
];
/// Where pools of workers stand, and which of their keys can change.
const POOLS: (&str, [&str; 2]) = ("dispatcher.worker_pool.pools.", ["workers", "capabilities"]);

/// Whether a general key can change while the engine runs.
fn may_change(key: &str) -> bool {
    let (pools, keys) = POOLS;
    // A pool that comes or goes does so with all its keys, and so with some that cannot change.
    let of_pool = key.strip_prefix(pools).and_then(|pool| pool.split_once('.'));
    MAY_CHANGE.iter().any(|may| key.starts_with(may))
        || of_pool.is_some_and(|(_, own)| keys.iter().any(|may| own.starts_with(may)))
}

/// What becomes of one named thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "change", content = "keys")]
pub enum Change {
    /// It is new.
    Added,
    /// It goes on under other keys: each with what it was and what it will be.
    Changed(Vec<String>),
    /// It is not there any more.
    Removed,
    /// It stays as it is, untouched.
    Unchanged,
}

/// One named thing and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Item {
    /// `source`, `pipeline` or `sink`.
    pub shelf: &'static str,
    /// Its name in the config.
    pub name: String,
    /// What becomes of it.
    #[serde(flatten)]
    pub change: Change,
}

/// What another config would change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// General keys that differ and cannot change while the engine runs.
    pub takes_a_restart: Vec<String>,
    /// General keys that differ and can.
    pub general: Vec<String>,
    /// All sources, pipelines and sinks of both configs.
    pub items: Vec<Item>,
}

impl Changes {
    /// What `new` changes of `old`.
    pub fn between(old: &Config, new: &Config) -> Changes {
        let mut changes = Changes::default();
        for key in differences(&general(old), &general(new)) {
            if may_change(&key) { &mut changes.general } else { &mut changes.takes_a_restart }.push(key);
        }
        changes.takes_a_restart.extend(buffers(old, new));
        // What must not be shown can differ all the same.
        if changes.takes_a_restart.is_empty() && old.admin != new.admin {
            changes.takes_a_restart.push("admin: a secret of it".into());
        }
        let sources = |config: &Config| -> Vec<_> {
            config.sources.iter().map(|one| (one.name.clone(), one.clone())).collect()
        };
        changes.compare("source", &sources(old), &sources(new), of_source);
        let pipelines = |config: &Config| -> Vec<_> {
            config.pipelines.iter().map(|one| (one.name.clone(), one.clone())).collect()
        };
        changes.compare("pipeline", &pipelines(old), &pipelines(new), of_pipeline);
        // One that is not enabled is as good as not written.
        let sinks = |config: &Config| -> Vec<_> {
            config.enabled_sinks().map(|one| (one.name.clone(), one.clone())).collect()
        };
        changes.compare("sink", &sinks(old), &sinks(new), of_sink);
        changes
    }

    fn compare<T: PartialEq>(
        &mut self,
        shelf: &'static str,
        old: &[(String, T)],
        new: &[(String, T)],
        keys: impl Fn(&T) -> Vec<(String, String)>,
    ) {
        for (name, now) in new {
            let before = old.iter().find(|(other, _)| other == name).map(|(_, before)| before);
            let change = match before {
                None => Change::Added,
                Some(before) if before == now => Change::Unchanged,
                Some(before) => {
                    let mut differ = differences(&keys(before), &keys(now));
                    if differ.is_empty() {
                        differ.push("a secret of it".into());
                    }
                    Change::Changed(differ)
                }
            };
            self.items.push(Item { shelf, name: name.clone(), change });
        }
        for (name, _) in old.iter().filter(|(name, _)| !new.iter().any(|(other, _)| other == name)) {
            self.items.push(Item { shelf, name: name.clone(), change: Change::Removed });
        }
    }

    /// Whether nothing would change.
    pub fn is_empty(&self) -> bool {
        let same = |item: &Item| item.change == Change::Unchanged;
        self.takes_a_restart.is_empty() && self.general.is_empty() && self.items.iter().all(same)
    }

    /// What becomes of the thing of this name.
    pub fn of(&self, shelf: &str, name: &str) -> Option<&Change> {
        self.items.iter().find(|item| item.shelf == shelf && item.name == name).map(|item| &item.change)
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for key in &self.takes_a_restart {
            writeln!(f, "! {key} (takes a restart)")?;
        }
        for key in &self.general {
            writeln!(f, "~ {key}")?;
        }
        let mut unchanged = Vec::new();
        for Item { shelf, name, change } in &self.items {
            match change {
                Change::Added => writeln!(f, "+ {shelf} {name}")?,
                Change::Removed => writeln!(f, "- {shelf} {name}")?,
                Change::Changed(keys) => writeln!(f, "~ {shelf} {name}: {}", keys.join(", "))?,
                Change::Unchanged => unchanged.push(format!("{shelf} {name}")),
            }
        }
        match &unchanged[..] {
            [] => Ok(()),
            all => writeln!(f, "= {}", all.join(", ")),
        }
    }
}

/// What cannot change of the buffers of sinks that stay: all but what becomes of entries while they are full.
fn buffers(old: &Config, new: &Config) -> Vec<String> {
    let fixed = |config: &Config, sink: &SinkConfig| {
        let buffer = &sink.lane.buffer;
        let used = config.has_buffer(sink);
        let spills = !buffer.is_on_disk() && used;
        let keys = flat(&BufferConfig { when_full: WhenFull::Block, ..*buffer });
        let keys = keys.into_iter().filter(|(key, _)| used || key == "type");
        keys.chain(Some(("spilling".into(), spills.to_string()))).collect::<Keys>()
    };
    let stay = new.enabled_sinks().filter_map(|sink| {
        let before = old.enabled_sinks().find(|before| before.name == sink.name)?;
        let differ = differences(&fixed(old, before), &fixed(new, sink));
        Some(differ.into_iter().map(|key| format!("sinks.{}.buffer.{key}", sink.name)))
    });
    stay.flatten().collect()
}

type Keys = Vec<(String, String)>;

fn general(config: &Config) -> Keys {
    flat(&GeneralConfig {
        data_dir: config.data_dir.clone(),
        admin: config.admin.clone(),
        dispatcher: config.dispatcher.clone(),
        quotas: config.quotas.clone(),
        affinity: config.affinity.clone(),
    })
}

fn of_source(source: &SourceConfig) -> Keys {
    let mut keys = vec![
        ("type".into(), source.kind.name().into()),
        ("pipeline".into(), source.pipeline.clone().unwrap_or_else(|| "none".into())),
    ];
    let labels = source.labels.0.iter();
    keys.extend(labels.map(|(name, value)| (format!("labels.{name}"), value.clone())));
    keys.extend(own("strategy", &source.strategy));
    let rate_limit = source.rate_limit.iter().flat_map(|limit| own("", limit));
    keys.extend(rate_limit.map(|(key, value)| (format!("rate_limit.{key}"), value)));
    keys.extend(own("", &source.kind));
    keys
}

fn of_pipeline(pipeline: &PipelineConfig) -> Keys {
    let steps = pipeline.steps.iter().enumerate();
    let steps = steps.map(|(at, step)| (format!("step {}", at + 1), format!("{step:?}")));
    flat(&pipeline.workers).into_iter().chain(steps).collect()
}

fn of_sink(sink: &SinkConfig) -> Keys {
    let mut keys = vec![
        ("type".into(), sink.kind.name().into()),
        ("when".into(), sink.when.clone().unwrap_or_else(|| "none".into())),
    ];
    keys.extend(own("", &sink.kind));
    keys.extend(own("", &sink.lane));
    keys
}

/// The keys of one type, without the type's name around them.
fn own<T: Serialize>(name: &str, value: &T) -> Keys {
    let value = match serde_yaml::to_value(value) {
        Ok(Value::Tagged(tagged)) => tagged.value,
        Ok(value) => value,
        Err(_) => return Vec::new(),
    };
    let keys = flat(&value).into_iter();
    keys.map(|(key, value)| (if key.is_empty() { name.into() } else { key }, value)).collect()
}

/// The keys that differ, with what they were and what they are.
fn differences(old: &Keys, new: &Keys) -> Vec<String> {
    let value =
        |keys: &Keys, key: &str| keys.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone());
    let mut differ = Vec::new();
    for (key, now) in new {
        match value(old, key) {
            Some(before) if before == *now => {}
            Some(before) => differ.push(format!("{key} {before} -> {now}")),
            None => differ.push(format!("{key} none -> {now}")),
        }
    }
    let gone = old.iter().filter(|(key, _)| value(new, key).is_none());
    differ.extend(gone.map(|(key, before)| format!("{key} {before} -> none")));
    differ
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "
data_dir: d
dispatcher: { queue_size: 5000, batch_size: 10 }
sources:
  app: { type: syslog, listen: ['tcp://127.0.0.1:5140'], pipeline: web }
  in: { type: stdin }
pipelines: { web: [ { discard: \"labels.a == 'b'\" } ] }
sinks:
  out: { type: file, path: out/a.log }
  hole: { type: blackhole }
  off: { type: blackhole, enabled: false }
";

    fn config(text: &str) -> Config {
        Config::parse("test", text, &|_| None).unwrap_or_else(|report| panic!("{report}"))
    }

    fn change(edits: &[(&str, &str)]) -> Changes {
        let new = edits.iter().fold(BASE.to_owned(), |text, (from, to)| {
            assert!(text.contains(from), "{from}");
            text.replace(from, to)
        });
        Changes::between(&config(BASE), &config(&new))
    }

    #[test]
    fn the_same_config_changes_nothing() {
        let changes = change(&[]);
        assert!(changes.is_empty(), "{changes}");
        assert_eq!(changes.to_string(), "= source app, source in, pipeline web, sink out, sink hole\n");
    }

    #[test]
    fn each_change_is_named_with_its_keys_and_values() {
        let changes = change(&[
            ("out/a.log", "out/b.log"),
            ("  in: { type: stdin }\n", "  more: { type: stdin, labels: { x: y } }\n"),
            ("hole: { type: blackhole }", "hole: { type: blackhole, when: \"labels.a == 'b'\" }"),
            ("== 'b'\" } ]", "!= 'b'\" } ]"),
            ("enabled: false", "enabled: true"),
        ]);
        let text = changes.to_string();
        for line in [
            "+ source more\n",
            "- source in\n",
            "~ sink out: path out/a.log -> out/b.log\n",
            "~ sink hole: when none -> labels.a ",
            "~ pipeline web: step 1 ",
            "+ sink off\n",
            "= source app\n",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
        assert!(changes.takes_a_restart.is_empty());
    }

    #[test]
    fn general_keys_either_change_or_take_a_restart() {
        let changes =
            change(&[("queue_size: 5000", "queue_size: 6000"), ("batch_size: 10", "batch_size: 20")]);
        assert_eq!(changes.takes_a_restart, ["dispatcher.queue_size 5000 -> 6000"]);
        assert_eq!(changes.general, ["dispatcher.batch_size 10 -> 20"]);
        let changes = change(&[("data_dir: d", "data_dir: e\nadmin: { listen: off }")]);
        assert_eq!(changes.takes_a_restart.len(), 2, "{changes}");
    }

    #[test]
    fn workers_may_be_more_or_fewer_and_able_to_other_things_and_pools_take_a_restart() {
        let pools = |pools: &str| format!("queue_size: 5000, worker_pool: {{ pools: {{ {pools} }} }}");
        let with = |text: &str| BASE.replace("queue_size: 5000", text);
        let between = |old: &str, new: &str| Changes::between(&config(&with(old)), &config(&with(new)));
        let pool = pools("p: { workers: 2 }");
        let changes = between(&pool, &pools("p: { workers: { min: 1, max: 4 }, capabilities: [a] }"));
        assert!(changes.takes_a_restart.is_empty(), "{changes}");
        assert!(changes.to_string().contains("pools.p.capabilities [] -> [a]"), "{changes}");
        for other in ["queue_size: 5000".to_owned(), pools("q: { workers: 2 }"), pools("p: { cores: [0] }")] {
            assert!(!between(&pool, &other).takes_a_restart.is_empty(), "{other}");
            assert!(!between(&other, &pool).takes_a_restart.is_empty(), "{other}");
        }
        let bounds = "queue_size: 5000, worker_pool: { min_workers: 1, max_workers: 2, idle_timeout: 1s }";
        assert_eq!(between("queue_size: 5000", bounds).general.len(), 3);
        let moved = change(&[
            ("{ web: [ {", "{ web: { pool: general, steps: [ {"),
            ("== 'b'\" } ] }", "== 'b'\" } ] } }"),
        ]);
        assert!(moved.to_string().contains("~ pipeline web: pool none -> general\n"), "{moved}");
    }

    #[test]
    fn a_type_of_its_own_shows_its_keys() {
        let changes = change(&[("['tcp://127.0.0.1:5140']", "['udp://127.0.0.1:5140']")]);
        assert!(changes.to_string().contains("~ source app: listen "), "{changes}");
    }
}
