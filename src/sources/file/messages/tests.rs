use super::*;
use crate::labels::{Labels, SourceId};
use crate::sources::multiline::pattern::Pattern;
use crate::sources::multiline::{Rule, Rules};
use proptest::prelude::*;
use std::io::Write;
use std::time::Duration;

struct Rig {
    out: File,
    file: File,
    _dir: tempfile::TempDir,
    streams: [Arc<Stream>; 2],
    limits: Limits,
    cursor: Cursor,
    capacity: usize,
}

/// An entry: which stream, its time, its text, its flags.
type Said = (usize, Option<i64>, String, bool);

fn rig(format: Format, max: usize) -> Rig {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let (out, file) = (File::create(&path).unwrap(), File::open(&path).unwrap());
    let stream = |name: &str| {
        Arc::new(Stream::new(SourceId(0), "s".into(), "file", name, Labels::new([("stream", name)])))
    };
    let limits = Limits { entries: 4096, line: max, rules: None, format, scratch: SharedScratch::default() };
    let streams = [stream("stdout"), stream("stderr")];
    Rig { out, file, _dir: dir, streams, limits, cursor: Cursor::default(), capacity: 4096 }
}

fn rules() -> Option<Arc<Rules>> {
    let rule = Rule::Start(Pattern::compile("^[A-Z]").unwrap());
    Some(Arc::new(Rules { rule, max_lines: 100, max_bytes: 3000, timeout: Duration::from_secs(1) }))
}

impl Rig {
    fn write(&mut self, text: impl AsRef<[u8]>) {
        self.out.write_all(text.as_ref()).unwrap();
    }

    /// Everything there is to read. After each block it begins anew from its position, as after a crash.
    fn read(&mut self, flush: Flush) -> Vec<Said> {
        let (mut said, mut capacity, mut idle) = (Vec::new(), self.capacity, 0);
        loop {
            let mut block = Block::new(capacity);
            let then = loop {
                let size = self.file.metadata().unwrap().len();
                let stood = self.cursor.read;
                let (streams, limits) = (&self.streams, &self.limits);
                let done = self.cursor.fill(&self.file, size, &mut block, streams, limits, flush).unwrap();
                idle = if self.cursor.read == stood { idle + 1 } else { 0 };
                assert!(idle < 20, "it goes round and round at {stood}");
                match done.then {
                    Then::More => {}
                    then => break then,
                }
            };
            let mut next = 0;
            for (at, row) in block.entries().iter().enumerate() {
                assert_eq!(row.offset as usize, next);
                next += row.len as usize + 1;
                let view = block.view(at);
                let time = (row.flags & Entry::OWN_TIME != 0).then_some(row.time);
                let std = usize::from(&*view.stream().origin == "stderr");
                let text = String::from_utf8(view.text().to_vec()).unwrap();
                said.push((std, time, text, row.flags & Entry::CUT != 0));
            }
            assert_eq!(block.text().len(), next);
            match then {
                Then::End => return said,
                Then::Wider(bytes) => capacity = bytes.next_multiple_of(1024),
                Then::Full => capacity = self.capacity,
                other => panic!("{other:?}"),
            }
            let (read, edge, event) = (self.cursor.read, self.cursor.edge, self.cursor.event);
            assert!(!event);
            self.cursor = Cursor::at(&self.file, read, edge).unwrap();
        }
    }

    fn texts(&mut self) -> Vec<String> {
        self.read(Flush::None).into_iter().map(|(std, _, text, _)| format!("{std} {text}")).collect()
    }
}

fn cri(std: usize, tag: &str, text: &str) -> String {
    format!("2026-11-28T04:15:46.5Z {} {tag} {text}\n", Std::ALL[std].name())
}

fn docker(std: usize, text: &str) -> String {
    let name = Std::ALL[std].name();
    serde_json::json!({ "log": text, "stream": name, "time": "2026-11-28T04:15:46.5Z" }).to_string() + "\n"
}

const T: i64 = 1_795_839_346_500_000_000;

#[test]
fn messages_become_entries_with_their_time_and_stream_and_pieces_become_lines() {
    let mut rig = rig(Format::Auto, 1000);
    rig.write(docker(0, "one\n"));
    rig.write(docker(0, "first half, "));
    rig.write(docker(1, "an error\n"));
    rig.write(docker(0, "second half\n"));
    rig.write(cri(1, "P", "a, "));
    rig.write(cri(1, "F", "b"));
    rig.write("neither\n");
    rig.write("x".repeat(1001) + "\n");
    let said = |std, text: &str| (std, Some(T), text.to_owned(), false);
    let wanted = [
        said(0, "one"),
        said(1, "an error"),
        said(0, "first half, second half"),
        said(1, "a, b"),
        (0, None, "neither".into(), false),
        (0, None, "x".repeat(1000), true),
    ];
    assert_eq!(rig.read(Flush::None), wanted);
    let plain = |format| {
        rig.limits.format = format;
        rig.cursor = Cursor::default();
        rig.read(Flush::None).len()
    };
    assert_eq!([Format::DockerJson, Format::Cri].map(plain), [7, 7]);
}

#[test]
fn a_position_stands_before_what_is_not_complete_and_nothing_comes_twice() {
    let mut rig = rig(Format::Cri, 1000);
    rig.write(cri(0, "F", "zero"));
    rig.write(cri(0, "P", "a"));
    rig.write(cri(1, "F", "between"));
    assert_eq!(rig.texts(), ["0 zero"]);
    assert_eq!(rig.cursor.edge, Edge::Line);
    let stood = rig.cursor.read;
    assert_eq!(rig.texts(), [""; 0]);
    rig.write(cri(0, "F", "b"));
    assert_eq!(rig.texts(), ["1 between", "0 ab"]);
    assert!(rig.cursor.read > stood);
    // What is waited for in vain goes out as it is.
    rig.write(cri(1, "P", "open"));
    assert_eq!(rig.texts(), [""; 0]);
    assert_eq!(rig.read(Flush::All), [(1, Some(T), "open".into(), false)]);
    rig.write("2026-11-28T04:15");
    assert_eq!(rig.texts(), [""; 0]);
    assert_eq!(rig.read(Flush::All), [(0, None, "2026-11-28T04:15".into(), false)]);
}

#[test]
fn a_line_that_is_too_long_is_cut_and_its_further_pieces_are_passed_over_after_a_crash_too() {
    for (format, capacity) in [(Format::Cri, 4096), (Format::DockerJson, 4096), (Format::DockerJson, 700)] {
        let mut rig = rig(format, 500);
        rig.capacity = capacity;
        let message = |std, text: &str, ends: bool| match format {
            Format::Cri => cri(std, if ends { "F" } else { "P" }, text),
            _ => docker(std, &(text.to_owned() + if ends { "\n" } else { "" })),
        };
        rig.write(message(0, "before", true));
        for n in 0..300 {
            rig.write(message(0, &"x".repeat(100), false));
            if n % 10 == 0 {
                rig.write(message(1, &format!("error {n}"), true));
            }
        }
        let mut said = rig.read(Flush::None);
        rig.write(message(0, "tail", true));
        rig.write(message(0, "after", true));
        said.extend(rig.read(Flush::None));
        let out: Vec<_> = said
            .iter()
            .filter(|(std, ..)| *std == 0)
            .map(|(_, _, text, cut)| (text.as_str(), *cut))
            .collect();
        assert_eq!(out.len(), 3, "{out:?}");
        assert_eq!((out[0], out[2]), (("before", false), ("after", false)));
        assert!(out[1].1 && out[1].0.starts_with("xxxx") && out[1].0.len() <= 500, "{out:?}");
        let errors: Vec<_> =
            said.iter().filter(|(std, ..)| *std == 1).map(|(_, _, text, _)| text.clone()).collect();
        assert_eq!(errors, (0..300).step_by(10).map(|n| format!("error {n}")).collect::<Vec<_>>());
    }
}

#[test]
fn lines_of_messages_become_events_of_each_stream() {
    let mut rig = rig(Format::Cri, 1000);
    rig.limits.rules = rules();
    for (std, text) in [(0, "One"), (1, "Error"), (0, " more"), (1, " at"), (0, "Two"), (1, "Other")] {
        rig.write(cri(std, "F", text));
    }
    assert_eq!(rig.texts(), ["0 One\n more", "1 Error\n at"]);
    assert!(rig.cursor.has_event());
    // This event ends, but reading cannot begin again where the other did: both wait.
    rig.write(cri(0, "F", " more"));
    rig.write(cri(0, "F", "Three"));
    assert_eq!(rig.texts(), [""; 0]);
    let rest = rig.read(Flush::Open);
    let texts: Vec<_> = rest.iter().map(|(std, _, text, _)| format!("{std} {text}")).collect();
    assert_eq!(texts, ["0 Two\n more", "1 Other", "0 Three"]);
    assert_eq!(rig.texts(), [""; 0]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_messages_written_in_any_pieces_give_the_same_lines(
        lines in prop::collection::vec((0..2usize, prop::collection::vec("[a-z\"\\\\ \u{e9}]{0,60}", 1..5)), 0..60),
        json: bool,
        capacity in 8000..20_000usize,
        steps in prop::collection::vec(1..700usize, 1..6),
        seed: u64,
    ) {
        let mut rig = rig(if json { Format::DockerJson } else { Format::Cri }, 500);
        rig.capacity = capacity;
        // The pieces of a line follow each other, with those of the other stream's lines between them.
        let mut random = fastrand::Rng::with_seed(seed);
        let mut waiting: [Vec<(String, bool)>; 2] = [Vec::new(), Vec::new()];
        let mut wanted = [Vec::new(), Vec::new()];
        for (std, pieces) in &lines {
            let last = pieces.len() - 1;
            waiting[*std].extend(pieces.iter().enumerate().map(|(at, piece)| (piece.clone(), at == last)));
            wanted[*std].push(pieces.concat());
        }
        let mut queues = waiting.map(|pieces| pieces.into_iter());
        let mut text = String::new();
        while queues.iter().any(|queue| queue.len() > 0) {
            let std = random.usize(0..2);
            for _ in 0..random.usize(1..4) {
                let Some((piece, ends)) = queues[std].next() else { break };
                text += &match json {
                    true => docker(std, &(piece + if ends { "\n" } else { "" })),
                    false => cri(std, if ends { "F" } else { "P" }, &piece),
                };
            }
        }
        let (mut came, mut bytes, mut step) = ([Vec::new(), Vec::new()], text.as_bytes(), steps.iter().cycle());
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(*step.next().unwrap()));
            rig.write(now);
            bytes = later;
            for (std, time, text, cut) in rig.read(Flush::None) {
                prop_assert!(time == Some(T) && !cut);
                came[std].push(text);
            }
        }
        prop_assert_eq!(came, wanted);
    }
}
