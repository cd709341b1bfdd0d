//! The file as a tree of values that know where they stand.
//!
//! saphyr-parser tells structure and places, serde_yaml (the YAML 1.2 rules of its `Value`) what a plain scalar means.
//! What YAML allows and a config does not need is refused here with its place: tags, several documents, keys that are
//! not text, duplicate keys, and more depth or size than any config has.

use std::cell::Cell;
use std::collections::HashMap;
use std::ops::Range;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle};
use serde_yaml::Value;

use super::env::{self, Lookup};
use super::report::{Problem, Report};

/// The largest file read, in bytes.
pub const FILE_BYTES_MAX: usize = 1 << 20;
const DEPTH_MAX: usize = 32;
/// Aliases multiply what a small file says, so the tree is limited and not only the file.
const NODES_MAX: usize = 100_000;
/// Nobody reads more; finding the places of a hundred thousand would take longer than reading the file.
const PROBLEMS_MAX: usize = 100;

/// Names one key or value of a tree.
pub type NodeId = u32;

/// A value and its place.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its name within the tree.
    pub id: NodeId,
    /// Its bytes in the file.
    pub span: Range<usize>,
    /// What it is.
    pub body: Body,
}

/// What a node is.
#[derive(Debug, Clone)]
pub enum Body {
    /// One value: `Value::Null`, `Bool`, `Number` or `String`.
    Scalar {
        /// The value, variables replaced.
        value: Value,
        /// Where its text starts in the file, when it stands there letter by letter.
        verbatim: Option<usize>,
    },
    /// A value that could not be made out, which is reported already: a variable that is not set.
    Unknown,
    /// A list.
    List(Vec<Node>),
    /// A map, in the order of the file, without duplicates.
    Map(Vec<(Key, Node)>),
}

/// The key of a map and its place.
#[derive(Debug, Clone)]
pub struct Key {
    /// Its name within the tree.
    pub id: NodeId,
    /// Its bytes in the file.
    pub span: Range<usize>,
    /// Its text.
    pub name: String,
}

impl Node {
    /// Key and value of `name`, if this is a map that has it.
    pub fn entry(&self, name: &str) -> Option<&(Key, Node)> {
        self.entries().iter().find(|(key, _)| key.name == name)
    }

    /// The value of `name`, if this is a map that has it.
    pub fn get(&self, name: &str) -> Option<&Node> {
        self.entry(name).map(|(_, value)| value)
    }

    /// The entries of a map; none for anything else.
    pub fn entries(&self) -> &[(Key, Node)] {
        match &self.body {
            Body::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The value at a path of keys and positions.
    pub fn find(&self, path: &[&str]) -> Option<&Node> {
        path.iter().try_fold(self, |node, step| match &node.body {
            Body::Map(_) => node.get(step),
            Body::List(items) => items.get(step.parse::<usize>().ok()?),
            Body::Scalar { .. } | Body::Unknown => None,
        })
    }

    /// The text of a string.
    pub fn text(&self) -> Option<&str> {
        match &self.body {
            Body::Scalar { value, .. } => value.as_str(),
            _ => None,
        }
    }

    /// Nothing was written where a value could stand.
    pub fn is_null(&self) -> bool {
        matches!(self.body, Body::Scalar { value: Value::Null, .. })
    }

    /// The value without its places.
    pub fn to_value(&self) -> Value {
        match &self.body {
            Body::Scalar { value, .. } => value.clone(),
            Body::Unknown => Value::Null,
            Body::List(items) => Value::Sequence(items.iter().map(Node::to_value).collect()),
            Body::Map(entries) => Value::Mapping(
                entries
                    .iter()
                    .map(|(key, node)| (Value::String(key.name.clone()), node.to_value()))
                    .collect(),
            ),
        }
    }

    /// Takes the entry or item out that is, or whose key is, `id`; tells whether there was one.
    pub fn remove(&mut self, id: NodeId) -> bool {
        match &mut self.body {
            Body::Scalar { .. } | Body::Unknown => false,
            Body::List(items) => {
                let before = items.len();
                items.retain(|item| item.id != id);
                items.len() < before || items.iter_mut().any(|item| item.remove(id))
            }
            Body::Map(entries) => {
                let before = entries.len();
                entries.retain(|(key, value)| key.id != id && value.id != id);
                entries.len() < before || entries.iter_mut().any(|(_, value)| value.remove(id))
            }
        }
    }
}

/// Reads `text`; problems that leave a usable tree (duplicates, unset variables) are added to `problems`, so that the
/// rest of the file can be looked at too.
pub fn parse(text: &str, lookup: Lookup, problems: &mut Vec<Problem>) -> Option<Node> {
    if text.len() > FILE_BYTES_MAX {
        problems.push(Problem::whole(format!(
            "the file has {} bytes; the most a config may have is {}",
            text.len(),
            crate::units::format_size(FILE_BYTES_MAX as u64)
        )));
        return None;
    }
    let mut builder = Builder {
        text,
        lines: std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect(),
        seen: Cell::new((0, 0, 0)),
        lookup,
        problems,
        anchors: HashMap::new(),
        stack: Vec::new(),
        nodes: 0,
        root: None,
    };
    match builder.read() {
        Ok(()) => Some(builder.root.unwrap_or(Node { id: 0, span: 0..0, body: Body::Map(Vec::new()) })),
        Err(problem) => {
            problems.push(problem);
            None
        }
    }
}

struct Builder<'a> {
    text: &'a str,
    /// The byte at which each line starts.
    lines: Vec<usize>,
    /// The last marker translated: line from 0, column, byte.
    seen: Cell<(usize, usize, usize)>,
    lookup: Lookup<'a>,
    problems: &'a mut Vec<Problem>,
    anchors: HashMap<usize, Node>,
    stack: Vec<Frame>,
    nodes: usize,
    root: Option<Node>,
}

/// A list or map whose end has not come yet.
struct Frame {
    node: Node,
    anchor: usize,
    /// The key whose value comes next, with whether it is kept.
    key: Option<(Key, bool)>,
    /// The keys of a map so far, with the byte where each stands.
    keys: HashMap<String, usize>,
}

impl Builder<'_> {
    fn read(&mut self) -> Result<(), Problem> {
        let text = self.text;
        let mut parser = Parser::new_from_str(text);
        let mut documents = 0;
        while let Some(event) = parser.next_event() {
            let (event, span) = event.map_err(|error| self.syntax(&error))?;
            let start = self.byte(&span.start);
            let span = start..self.byte(&span.end).max(start);
            let tag = match &event {
                Event::Scalar(_, _, _, tag) | Event::SequenceStart(_, tag) | Event::MappingStart(_, tag) => {
                    tag.is_some()
                }
                _ => false,
            };
            if tag {
                return Err(Problem::at(span, "tags such as `!name` mean nothing here", "remove the tag"));
            }
            match event {
                Event::DocumentStart(_) => {
                    documents += 1;
                    if documents > 1 {
                        return Err(Problem::at(
                            span,
                            "a second document in one file",
                            "one file, one config",
                        ));
                    }
                }
                Event::Scalar(value, style, anchor, _) => {
                    let node = self.scalar(&value, style, span)?;
                    self.complete(node, anchor)?;
                }
                Event::SequenceStart(anchor, _) => self.open(Body::List(Vec::new()), anchor, span)?,
                Event::MappingStart(anchor, _) => self.open(Body::Map(Vec::new()), anchor, span)?,
                Event::SequenceEnd | Event::MappingEnd => {
                    if let Some(mut frame) = self.stack.pop() {
                        frame.node.span.end = span.end.max(frame.node.span.start);
                        self.complete(frame.node, frame.anchor)?;
                    }
                }
                Event::Alias(anchor) => {
                    let Some(mut node) = self.anchors.get(&anchor).cloned() else {
                        return Err(Problem::at(
                            span,
                            "an alias inside of what it stands for",
                            "name it first",
                        ));
                    };
                    self.renumber(&mut node, &span)?;
                    self.complete(node, 0)?;
                }
                Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            }
        }
        Ok(())
    }

    fn syntax(&self, error: &saphyr_parser::ScanError) -> Problem {
        let at = self.byte(error.marker());
        let problem = Problem::at(at..at + 1, "this is not YAML", error.info());
        let (line, _) = Report::position(self.text, at);
        let start = self.lines.get(line.saturating_sub(2)).copied().unwrap_or(0);
        let near = &self.text[start..self.lines.get(line).copied().unwrap_or(self.text.len())];
        match near {
            near if near.contains("${") => {
                problem.note("inside `{ }` and `[ ]`, `${...}` must stand in quotes: \"${NAME}\"")
            }
            near if near.lines().any(|line| line.trim_start_matches(' ').starts_with('\t')) => {
                problem.note("YAML indents with spaces, never with tabs")
            }
            _ => problem,
        }
    }

    /// The byte of the text a marker means: its own index counts characters.
    fn byte(&self, marker: &Marker) -> usize {
        let (line, column) = (marker.line().saturating_sub(1), marker.col());
        let Some(start) = self.lines.get(line) else {
            return self.text.len();
        };
        // Going on from the marker before keeps a file of one huge line linear.
        let (seen_column, seen) = match self.seen.get() {
            (seen_line, seen_column, seen) if seen_line == line && seen_column <= column => {
                (seen_column, seen)
            }
            _ => (0, *start),
        };
        let ahead = self.text[seen..].char_indices().nth(column - seen_column);
        let byte = ahead.map_or(self.text.len(), |(at, _)| seen + at);
        if ahead.is_some() {
            self.seen.set((line, column, byte));
        }
        byte
    }

    fn next_id(&mut self, span: &Range<usize>) -> Result<NodeId, Problem> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            let message = format!("more than {NODES_MAX} values");
            return Err(Problem::at(span.clone(), message, "no config needs that many"));
        }
        Ok(self.nodes as NodeId)
    }

    fn renumber(&mut self, node: &mut Node, span: &Range<usize>) -> Result<(), Problem> {
        node.id = self.next_id(span)?;
        match &mut node.body {
            Body::Scalar { .. } | Body::Unknown => {}
            Body::List(items) => {
                for item in items {
                    self.renumber(item, span)?;
                }
            }
            Body::Map(entries) => {
                for (key, value) in entries {
                    key.id = self.next_id(span)?;
                    self.renumber(value, span)?;
                }
            }
        }
        Ok(())
    }

    fn open(&mut self, body: Body, anchor: usize, span: Range<usize>) -> Result<(), Problem> {
        if self.stack.len() >= DEPTH_MAX {
            let message = format!("more than {DEPTH_MAX} levels deep");
            return Err(Problem::at(span, message, "no config needs that many"));
        }
        let id = self.next_id(&span)?;
        self.stack.push(Frame { node: Node { id, span, body }, anchor, key: None, keys: HashMap::new() });
        Ok(())
    }

    fn scalar(&mut self, raw: &str, style: ScalarStyle, span: Range<usize>) -> Result<Node, Problem> {
        let id = self.next_id(&span)?;
        let plain = style == ScalarStyle::Plain;
        let first = span.start + usize::from(!plain);
        let verbatim = self.text.get(first..first + raw.len()).filter(|slice| *slice == raw).map(|_| first);
        let is_key = matches!(self.stack.last(), Some(Frame { key: None, node, .. }) if matches!(node.body, Body::Map(_)));
        let replaced = if is_key { Ok(None) } else { env::substitute(raw, self.lookup) };
        let (value, verbatim) = match replaced {
            // A key is its text: `yes:`, `1:` and `null:` are names like any other.
            Ok(None) if is_key => (Value::String(raw.into()), verbatim),
            Ok(None) if plain => (typed(raw), verbatim),
            Ok(None) => (Value::String(raw.into()), verbatim),
            Ok(Some(new)) if plain && new.whole => (typed(&new.text), None),
            Ok(Some(new)) => (Value::String(new.text), None),
            Err(refused) => {
                let at = match verbatim {
                    Some(first) => first + refused.at.start..first + refused.at.end,
                    None => span.clone(),
                };
                if self.problems.len() < PROBLEMS_MAX {
                    self.problems.push(Problem::at(at, refused.message, refused.label));
                }
                return Ok(Node { id, span, body: Body::Unknown });
            }
        };
        Ok(Node { id, span, body: Body::Scalar { value, verbatim } })
    }

    /// Hands a finished node to the list or map around it.
    fn complete(&mut self, node: Node, anchor: usize) -> Result<(), Problem> {
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(frame) = self.stack.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        let entries = match &mut frame.node.body {
            Body::List(items) => {
                items.push(node);
                return Ok(());
            }
            Body::Map(entries) => entries,
            Body::Scalar { .. } | Body::Unknown => return Ok(()),
        };
        match frame.key.take() {
            Some((key, true)) => entries.push((key, node)),
            Some((_, false)) => {}
            None => {
                let Node { id, span, .. } = node;
                let Some(name) = scalar_text(&node.body) else {
                    return Err(Problem::at(span, "a key that is a list or a map", "a key is text"));
                };
                let first = frame.keys.get(&name).copied();
                if let Some(first) = first
                    && self.problems.len() < PROBLEMS_MAX
                {
                    let (line, column) = Report::position(self.text, first);
                    let problem =
                        Problem::at(span.clone(), format!("`{name}` is written twice"), "remove one of them");
                    self.problems
                        .push(problem.note(format!("written first in line {line}, column {column}")));
                }
                let kept = first.is_none();
                if kept {
                    frame.keys.insert(name.clone(), span.start);
                }
                frame.key = Some((Key { id, span, name }, kept));
            }
        }
        Ok(())
    }
}

fn scalar_text(body: &Body) -> Option<String> {
    match body {
        Body::Scalar { value: Value::String(text), .. } => Some(text.clone()),
        // Only an alias can bring these here: written keys are kept as text.
        Body::Scalar { value: Value::Number(number), .. } => Some(number.to_string()),
        Body::Scalar { value: Value::Bool(value), .. } => Some(value.to_string()),
        Body::Scalar { value: Value::Null, .. } => Some(String::new()),
        _ => None,
    }
}

/// What a plain scalar means.
fn typed(plain: &str) -> Value {
    if plain.is_empty() {
        return Value::Null;
    }
    // Everything YAML gives a type to begins with one of these and is short; the rest need not be parsed again.
    let first = plain.as_bytes()[0];
    let candidate = plain.len() <= 64 && (first.is_ascii_digit() || b"+-.~nNtTfF".contains(&first));
    if candidate
        && let Ok(value @ (Value::Null | Value::Bool(_) | Value::Number(_))) = serde_yaml::from_str(plain)
    {
        return value;
    }
    Value::String(plain.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Node, Vec<Problem>> {
        let mut problems = Vec::new();
        let tree = parse(text, &|_| None, &mut problems);
        match (tree, problems.is_empty()) {
            (Some(tree), true) => Ok(tree),
            _ => Err(problems),
        }
    }

    #[test]
    fn a_tree_means_what_serde_yaml_says_it_means() {
        let documents = [
            "a: 1\nb: [x, 'y', \"z\\n\", 2.5, true, ~, null, .inf]\nc: {d: {e: -7}, f: }\n",
            "- a\n- b: |\n    two\n    lines\n- c: >\n    one\n    line\n- 0x1f\n- 0o17\n- 007\n- 1e3\n- '5'\n- yes\n- off",
            "x: &anchor {p: 1, q: [2, 3]}\ny: *anchor\n",
            "# only a comment\n",
            "text: a plain\n  scalar of two lines\nurl: http://x:1/y#z\nempty: ''\n",
            "a:\r\n  - b\r\n  - c\r\n",
            "5s: 500ms\n",
        ];
        for text in documents {
            let expected: Value = serde_yaml::from_str(text).unwrap();
            let expected = if expected.is_null() { Value::Mapping(Default::default()) } else { expected };
            assert_eq!(read(text).unwrap().to_value(), expected, "{text}");
        }
    }

    #[test]
    fn every_value_knows_its_place() {
        let text = "sources:\n  ä: { type: 'file', list: [one, \"two\"] }\n";
        let tree = read(text).unwrap();
        for (path, written) in
            [(vec!["sources", "ä", "type"], "'file'"), (vec!["sources", "ä", "list", "1"], "\"two\"")]
        {
            assert_eq!(&text[tree.find(&path).unwrap().span.clone()], written);
        }
        let (key, _) = tree.get("sources").unwrap().entry("ä").unwrap();
        assert_eq!(&text[key.span.clone()], "ä");
        let Body::Scalar { verbatim, .. } = tree.find(&["sources", "ä", "type"]).unwrap().body else {
            panic!()
        };
        assert_eq!(&text[verbatim.unwrap()..][..4], "file");
    }

    #[test]
    fn what_no_config_needs_is_refused_in_time() {
        let (deep, deeper) = ("[".repeat(40), "[".repeat(200_000));
        let twice = "a: 1\n".repeat(90_000);
        let one_line = format!("[{}", "ä, ".repeat(90_000));
        let laughs: String = (1..20)
            .map(|n| format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 10].join(",")))
            .collect();
        let laughs = format!("a0: &a0 x\n{laughs}");
        let cases = [
            (deep.as_str(), "levels deep"),
            (deeper.as_str(), "not YAML"),
            (twice.as_str(), "written twice"),
            (one_line.as_str(), "not YAML"),
            (laughs.as_str(), "more than 100000 values"),
            ("a: !tag x", "tags"),
            ("a: 1\n---\nb: 2\n", "second document"),
            ("[a]: b", "a key that is a list"),
            ("a: [", "not YAML"),
            ("a: b: c", "not YAML"),
            ("a:\n\tb: c", "not YAML"),
            ("a: *nothing", "not YAML"),
        ];
        for (text, expected) in cases {
            let problems = read(text).unwrap_err();
            assert!(problems[0].message.contains(expected), "{:?}", problems[0]);
        }
        let huge = "#".repeat(FILE_BYTES_MAX + 1);
        assert!(read(&huge).unwrap_err()[0].message.contains("1MiB"));
    }

    #[test]
    fn a_key_written_twice_is_told_with_its_first_place() {
        let problems = read("a: 1\nb: 2\na: 3\n").unwrap_err();
        assert_eq!(problems[0].message, "`a` is written twice");
        assert_eq!(problems[0].span, Some(10..11));
        assert_eq!(problems[0].notes, ["written first in line 1, column 1"]);
    }
}
