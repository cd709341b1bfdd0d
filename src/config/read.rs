//! From the positioned tree to structs, one section at a time, collecting everything that does not fit.
//!
//! A struct stops at its first error. To find the others, what was wrong is taken out of a copy of the section and the
//! copy is read again, until it fits or nothing more can be taken out. What is left then stands in for the section in the
//! checks that follow; a config with any problem is refused as a whole.

use std::collections::HashSet;
use std::ops::Range;

use serde::Deserialize;

use super::PipelineKeys;
use super::cases::TestConfig;
use super::de::{Error, ErrorKind, known_keys};
use super::keys::GeneralConfig;
use super::report::{Problem, did_you_mean};
use super::tree::{Body, Key, Node, NodeId};
use crate::sinks::config::{SinkKeys, SinkKind};
use crate::sources::config::{SourceKeys, SourceKind};
use crate::steps::config::StepConfig;

/// The file as written, before anything is resolved against anything else.
#[derive(Debug, Default)]
pub struct Written {
    /// The sections of the whole house.
    pub general: Option<GeneralConfig>,
    /// Sources by name.
    pub sources: Vec<(String, SourceKeys, SourceKind)>,
    /// Pipelines by name.
    pub pipelines: Vec<(String, PipelineKeys, Vec<StepConfig>)>,
    /// Sinks by name.
    pub sinks: Vec<(String, SinkKeys, SinkKind)>,
    /// Cases for `ringmain test` by name.
    pub tests: Vec<(String, TestConfig)>,
}

/// The sections that hold named things.
const SHELVES: [&str; 4] = ["sources", "pipelines", "sinks", "tests"];
/// Errors looked for in one section.
const ERRORS_MAX: usize = 50;

/// Reads all sections of `root`; what does not fit goes to `problems`.
pub fn read(root: &Node, problems: &mut Vec<Problem>) -> Written {
    let mut reader = Reader { problems };
    let mut written = Written::default();
    let mut general = root.clone();
    if let Body::Map(entries) = &mut general.body {
        entries.retain(|(key, _)| !SHELVES.contains(&key.name.as_str()));
    }
    let section = Section { path: &[], anchor: 0..0, more_keys: &SHELVES };
    written.general = reader.section(&general, &section, |node| GeneralConfig::deserialize(node));
    for (key, node) in reader.shelf(root, "sources") {
        let component = reader
            .component("sources", key, node, SourceKind::TYPES, |kind, node| SourceKind::read(kind, node));
        written.sources.extend(component.map(|(keys, kind)| (key.name.clone(), keys, kind)));
    }
    for (key, node) in reader.shelf(root, "pipelines") {
        let pipeline = reader.pipeline(key, node);
        written.pipelines.extend(pipeline.map(|(keys, steps)| (key.name.clone(), keys, steps)));
    }
    for (key, node) in reader.shelf(root, "tests") {
        let path = ["tests", &key.name];
        let section = Section { path: &path, anchor: key.span.clone(), more_keys: &[] };
        let case = reader.section(node, &section, |node| TestConfig::deserialize(node));
        written.tests.extend(case.map(|case| (key.name.clone(), case)));
    }
    for (key, node) in reader.shelf(root, "sinks") {
        let component =
            reader.component("sinks", key, node, SinkKind::TYPES, |kind, node| SinkKind::read(kind, node));
        written.sinks.extend(component.map(|(keys, kind)| (key.name.clone(), keys, kind)));
    }
    written
}

/// The key of a pipeline's steps, where it is a map.
const STEPS: &str = "steps";

/// `root` with the steps alone of each pipeline: where they stand does not depend on how it is written then.
pub fn with_bare_steps(root: &Node) -> Node {
    let mut root = root.clone();
    let Body::Map(shelves) = &mut root.body else { return root };
    for (_, shelf) in shelves.iter_mut().filter(|(key, _)| key.name == "pipelines") {
        let Body::Map(pipelines) = &mut shelf.body else { continue };
        for (_, pipeline) in pipelines {
            if let Some(steps) = pipeline.get(STEPS).cloned() {
                *pipeline = steps;
            }
        }
    }
    root
}

struct Reader<'a> {
    problems: &'a mut Vec<Problem>,
}

/// Where a section stands, for messages.
struct Section<'a> {
    path: &'a [&'a str],
    /// Where to point when a key is missing.
    anchor: Range<usize>,
    /// Keys known at its top besides those of its struct.
    more_keys: &'a [&'a str],
}

impl Reader<'_> {
    /// The named things of one section.
    fn shelf<'n>(&mut self, root: &'n Node, name: &str) -> &'n [(Key, Node)] {
        let Some((key, node)) = root.entry(name) else {
            return &[];
        };
        if !matches!(node.body, Body::Map(_) | Body::Unknown) && !node.is_null() {
            let place = Found { span: spot(node, &key.span), path: vec![], map: 0, node: Some(node) };
            self.problems.push(unexpected(&[name.into()], &place, "expected a map of names"));
        }
        node.entries()
    }

    /// A pipeline: a list of steps, or a map of them and of which workers they are for.
    fn pipeline(&mut self, key: &Key, node: &Node) -> Option<(PipelineKeys, Vec<StepConfig>)> {
        let path = ["pipelines", key.name.as_str()];
        let section = |more_keys| Section { path: &path, anchor: key.span.clone(), more_keys };
        let (mut keys, mut steps) = (PipelineKeys::default(), node);
        if let Body::Map(_) = &node.body {
            let Some(written) = node.get(STEPS) else {
                let found = Found { span: spot(node, &key.span), path: vec![], map: 0, node: Some(node) };
                let expected = "expected a list of steps, or a map with `steps`";
                self.problems.push(unexpected(&path.map(String::from), &found, expected));
                return None;
            };
            let mut others = node.clone();
            if let Body::Map(entries) = &mut others.body {
                entries.retain(|(key, _)| key.name != STEPS);
            }
            keys = self.section(&others, &section(&[STEPS]), |node| PipelineKeys::deserialize(node))?;
            steps = written;
        }
        let steps = self.section(steps, &section(&[]), |node| Vec::<StepConfig>::deserialize(node))?;
        Some((keys, steps))
    }

    /// A source or a sink: the common keys, and those of its type.
    fn component<T: for<'de> Deserialize<'de>, K>(
        &mut self,
        shelf: &str,
        key: &Key,
        node: &Node,
        types: &'static [&'static str],
        read: impl Fn(&str, &Node) -> Result<K, Error>,
    ) -> Option<(T, K)> {
        let path = [shelf, key.name.as_str()];
        let anchor = key.span.clone();
        if let Body::Unknown = node.body {
            return None;
        }
        if !matches!(node.body, Body::Map(_)) {
            let place = Found { span: spot(node, &key.span), path: vec![], map: 0, node: Some(node) };
            self.problems.push(unexpected(&path.map(String::from), &place, "expected a map with a `type`"));
            return None;
        }
        let common = known_keys::<T>();
        let (mut shared, mut own) = (node.clone(), node.clone());
        if let (Body::Map(shared), Body::Map(own)) = (&mut shared.body, &mut own.body) {
            shared.retain(|(key, _)| common.contains(&key.name.as_str()));
            own.retain(|(key, _)| key.name != "type" && !common.contains(&key.name.as_str()));
        }
        let section = Section { path: &path, anchor: anchor.clone(), more_keys: &[] };
        let keys = self.section(&shared, &section, |node| T::deserialize(node));
        let kind = self.kind(&path, key, node, types)?;
        let more_keys: Vec<&str> = std::iter::once("type").chain(common.iter().copied()).collect();
        let section = Section { path: &path, anchor, more_keys: &more_keys };
        let kind = self.section(&own, &section, |node| read(kind, node));
        keys.zip(kind)
    }

    /// The word after `type:`, when it is a known one.
    fn kind(
        &mut self,
        path: &[&str; 2],
        key: &Key,
        node: &Node,
        types: &[&'static str],
    ) -> Option<&'static str> {
        let known = format!("known types: {}", types.join(", "));
        let place = place(&path.map(String::from));
        let Some((type_key, value)) = node.entry("type") else {
            let message = format!("`type` is missing{place}");
            self.problems.push(Problem::at(key.span.clone(), message, "needs `type`").note(known));
            return None;
        };
        let found = value.text().and_then(|word| types.iter().copied().find(|kind| *kind == word));
        if found.is_none() && !matches!(value.body, Body::Unknown) {
            let shown = shown(value);
            let label = value.text().and_then(|word| did_you_mean(word, types.iter().copied()));
            let label = label.map(|kind| format!("did you mean `{kind}`?")).unwrap_or_default();
            let message = match value.text() {
                Some(_) => format!("unknown type {shown}{place}"),
                None => format!("`type`{place} cannot be {shown}"),
            };
            self.problems.push(Problem::at(spot(value, &type_key.span), message, label).note(known));
        }
        found
    }

    fn section<T>(
        &mut self,
        node: &Node,
        section: &Section,
        read: impl Fn(&Node) -> Result<T, Error>,
    ) -> Option<T> {
        let mut rest = node.clone();
        let mut removed = HashSet::<NodeId>::new();
        for _ in 0..ERRORS_MAX {
            let error = match read(&rest) {
                Ok(value) => return Some(value),
                Err(error) => error,
            };
            let id = error.at.unwrap_or(rest.id);
            let found = find(&rest, id).unwrap_or_else(|| Found::top(&rest));
            // What a list or map lacks after something was taken out of it is our doing and not the user's.
            let ours = match &error.kind {
                ErrorKind::Missing(key) => find_key(node, found.map, key).is_some(),
                _ => removed.contains(&id),
            };
            if !ours {
                self.problems.extend(explain(&error.kind, &found, section));
            }
            let parent = parent(&rest, id);
            if !rest.remove(id) {
                return None;
            }
            removed.extend(parent);
            removed.insert(id);
        }
        None
    }
}

/// A node that was looked for by its id.
struct Found<'a> {
    /// Keys and positions from the top of the section; of a key, those of its map.
    path: Vec<String>,
    /// Where to point.
    span: Range<usize>,
    /// The map it is, or the one it stands in.
    map: NodeId,
    /// The value; `None` for a key.
    node: Option<&'a Node>,
}

impl<'a> Found<'a> {
    fn top(node: &'a Node) -> Self {
        Found { path: Vec::new(), span: node.span.clone(), map: node.id, node: Some(node) }
    }

    fn under(mut self, step: &str) -> Self {
        self.path.insert(0, step.into());
        self
    }
}

fn find(node: &Node, id: NodeId) -> Option<Found<'_>> {
    if node.id == id {
        return Some(Found::top(node));
    }
    match &node.body {
        Body::Scalar { .. } | Body::Unknown => None,
        Body::List(items) => {
            items.iter().enumerate().find_map(|(index, item)| Some(find(item, id)?.under(&index.to_string())))
        }
        Body::Map(entries) => entries.iter().find_map(|(key, value)| {
            if key.id == id {
                return Some(Found { path: Vec::new(), span: key.span.clone(), map: node.id, node: None });
            }
            let mut found = find(value, id)?.under(&key.name);
            if found.path.len() == 1 && found.node.is_some() {
                // The bounds of a map or list of several lines say less than the key they stand under.
                let several = !matches!(value.body, Body::Scalar { .. });
                found.span = if several { key.span.clone() } else { spot(value, &key.span) };
            }
            Some(found)
        }),
    }
}

fn parent(node: &Node, id: NodeId) -> Option<NodeId> {
    match &node.body {
        Body::Scalar { .. } | Body::Unknown => None,
        Body::List(items) if items.iter().any(|item| item.id == id) => Some(node.id),
        Body::List(items) => items.iter().find_map(|item| parent(item, id)),
        Body::Map(entries) if entries.iter().any(|(key, value)| key.id == id || value.id == id) => {
            Some(node.id)
        }
        Body::Map(entries) => entries.iter().find_map(|(_, value)| parent(value, id)),
    }
}

/// The entry `key` of the map `map`, as the user wrote it.
fn find_key<'a>(node: &'a Node, map: NodeId, key: &str) -> Option<&'a Node> {
    match find(node, map)?.node? {
        node if node.id == map => node.get(key),
        _ => None,
    }
}

/// Where to point for a value: at itself, or at its key when nothing was written.
pub fn spot(value: &Node, key: &Range<usize>) -> Range<usize> {
    if value.span.is_empty() { key.clone() } else { value.span.clone() }
}

fn explain(kind: &ErrorKind, found: &Found, section: &Section) -> Option<Problem> {
    let top = section.path.iter().map(|step| (*step).to_owned());
    let path: Vec<String> = top.chain(found.path.iter().cloned()).collect();
    let anchor = if found.path.is_empty() { section.anchor.clone() } else { found.span.clone() };
    Some(match kind {
        ErrorKind::Reported => return None,
        ErrorKind::Missing(key) => {
            let message = format!("`{key}` is missing{}", place(&path));
            Problem::at(anchor, message, format!("needs `{key}`"))
        }
        ErrorKind::UnknownKey(key, known) => {
            let more = if found.path.is_empty() { section.more_keys } else { &[] };
            let known: Vec<&str> = more.iter().chain(known.iter()).copied().collect();
            let hint = did_you_mean(key, known.iter().copied());
            let label = hint.map(|hint| format!("did you mean `{hint}`?")).unwrap_or_default();
            let message = format!("unknown key `{key}`{}", place(&path));
            let problem = Problem::at(found.span.clone(), message, label);
            if known.is_empty() { problem } else { problem.note(format!("known keys: {}", known.join(", "))) }
        }
        ErrorKind::UnknownWord(word, known) => {
            let hint = did_you_mean(word, known.iter().copied());
            let label = hint.map(|hint| format!("did you mean `{hint}`?")).unwrap_or_default();
            let known = known.join(", ");
            match &path[..] {
                [shelf, name, _] if shelf == "pipelines" => {
                    let message = format!("unknown step `{word}` in pipeline `{name}`");
                    Problem::at(found.span.clone(), message, label).note(format!("known steps: {known}"))
                }
                _ => {
                    let message = format!("{} cannot be `{word}`", subject(&path));
                    Problem::at(found.span.clone(), message, label).note(format!("known values: {known}"))
                }
            }
        }
        ErrorKind::Expected(expected) => unexpected(&path, found, expected),
    })
}

fn unexpected(path: &[String], found: &Found, expected: &str) -> Problem {
    let shown = match found.node {
        Some(node) => shown(node),
        None => "this".into(),
    };
    Problem::at(found.span.clone(), format!("{} cannot be {shown}", subject(path)), expected)
}

/// A value as it stands in a sentence.
fn shown(node: &Node) -> String {
    match &node.body {
        Body::List(items) if items.is_empty() => "an empty list".into(),
        Body::List(_) => "a list".into(),
        Body::Map(_) => "a map".into(),
        Body::Scalar { .. } if node.is_null() => "empty".into(),
        Body::Unknown => "this".into(),
        Body::Scalar { value, .. } => {
            let text = match value {
                serde_yaml::Value::String(text) => text.clone(),
                other => serde_yaml::to_string(other).unwrap_or_default().trim_end().to_owned(),
            };
            match text.char_indices().nth(60) {
                Some((end, _)) => format!("`{}...`", &text[..end]),
                None => format!("`{text}`"),
            }
        }
    }
}

/// The value at `path` as the subject of a sentence: by its nearest key.
pub fn subject(path: &[String]) -> String {
    match path {
        [] => "the config".into(),
        [shelf, name] if shelf == "sources" => format!("source `{name}`"),
        [shelf, name] if shelf == "sinks" => format!("sink `{name}`"),
        [shelf, name] if shelf == "pipelines" => format!("pipeline `{name}`"),
        [shelf, name, step] if shelf == "pipelines" => {
            format!("step {} of pipeline `{name}`", position(step))
        }
        [before @ .., last] if last.bytes().all(|byte| byte.is_ascii_digit()) => subject(before),
        [before @ .., last] => format!("`{last}`{}", place(before)),
    }
}

/// Where something stands, to follow its name: ` in sink `archive``.
pub fn place(path: &[String]) -> String {
    match path {
        [] => " at the top level".into(),
        [shelf, name, step, rest @ ..] if shelf == "pipelines" && !rest.is_empty() => {
            format!(" in `{}`, step {} of pipeline `{name}`", rest.join("."), position(step))
        }
        [shelf, name, rest @ ..] if shelf != "pipelines" && SHELVES.contains(&shelf.as_str()) => {
            let of = format!("{} `{name}`", shelf.trim_end_matches('s'));
            if rest.is_empty() { format!(" in {of}") } else { format!(" in `{}` of {of}", rest.join(".")) }
        }
        [shelf, ..] if shelf == "pipelines" && path.len() <= 3 => format!(" in {}", subject(path)),
        rest => format!(" in `{}`", rest.join(".")),
    }
}

/// People count steps from one.
fn position(index: &str) -> usize {
    index.parse::<usize>().map_or(1, |index| index + 1)
}
