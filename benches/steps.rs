//! What do steps cost? A filter on the level beside the parse it spares, a pipeline of ten steps, and values that are
//! worked out. CPU time of one thread; only the ratios travel well between machines.
//!
//! `cargo bench --bench steps [-- PART_OF_A_NAME]`

#![allow(clippy::expect_used, reason = "the lines and steps are its own")]

// Its measurements for criterion are the other benches'.
#[allow(dead_code)]
mod cpu;

use cpu::Work;
use ringmain::block::{Block, count_selected};
use ringmain::entry::Entry;
use ringmain::expr::{Expr, ValueExpr};
use ringmain::labels::{Labels, SourceId, Stream};
use ringmain::steps::config::{RedactConfig, SampleConfig};
use ringmain::steps::edit::Remove;
use ringmain::steps::parse::input::Input;
use ringmain::steps::pipeline::{Pipeline, StepSpec};
use ringmain::steps::redact::Redact;
use ringmain::steps::redact::patterns::BuiltIn;
use ringmain::steps::set::{ConstValue, Given};
use ringmain::steps::{Failures, Step, StepError, Verdict};
use std::ops::Range;
use std::sync::Arc;

const LINES: usize = 350;

fn main() {
    let wanted = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    let lines: Vec<String> = (0..LINES).map(line).collect();
    let work = Work { lines: LINES as u64, bytes: lines.iter().map(|line| line.len() as u64 + 1).sum() };
    if "steps/keep_level".contains(&wanted) {
        keep_level(work, &lines);
    }
    if "steps/ten".contains(&wanted) {
        ten(work, &lines);
    }
    if "steps/set".contains(&wanted) {
        set(work, &lines);
    }
}

/// One entry in fifty is an error: `parse` looks ahead, and reads all of them when somebody looks on.
fn keep_level(work: Work, lines: &[String]) {
    let specs = || vec![StepSpec::ParseJson(Input::Message), StepSpec::Keep(expr(r#"level == "error""#))];
    let (ahead, full) = (pipeline(specs()), pipeline(specs()));
    let (mut one, mut other) = (block_of(lines), block_of(lines));
    let mut ahead = || run(&ahead, &mut one);
    let mut full = || {
        full.run_watched(&mut other, &mut |_, _| ());
        left(&other)
    };
    assert_eq!((ahead(), full()), (LINES as u64 / 50, LINES as u64 / 50));
    cpu::compare(
        work,
        &mut [("steps/keep_level, all parsed", &mut full), ("steps/keep_level, looking ahead", &mut ahead)],
    );
}

/// `parse`, `discard`, `set` of three fields, `rename`, `remove`, `redact`, `keep`, `sample`, `set` of two values, `route`.
fn ten(work: Work, lines: &[String]) {
    let constant = |name: &str, text: &str| (name.to_owned(), Given::from(ConstValue::Text(text.into())));
    let made = |name: &str, text: &str| (name.to_owned(), Given::Made(value(text)));
    let redact = RedactConfig { patterns: vec![BuiltIn::Email, BuiltIn::Secret], ..RedactConfig::default() };
    let specs = vec![
        StepSpec::ParseJson(Input::Message),
        StepSpec::Discard(expr(r#"level == "debug""#)),
        StepSpec::Set(vec![constant("env", "prod"), constant("team", "web"), constant("dc", "fra1")]),
        StepSpec::Rename(vec![("msg".into(), "text".into())]),
        StepSpec::Custom(Box::new(Remove::new(&["tags".into()]))),
        StepSpec::Custom(Box::new(Redact::new(&redact).expect("patterns"))),
        StepSpec::Keep(expr("status >= 100")),
        StepSpec::Sample(SampleConfig::from(0.9), Some(value("user.name")), None),
        StepSpec::Set(vec![made("took_s", "took / 1000"), made("key", r#"lower(host) + ":" + status"#)]),
        StepSpec::Route(vec![("errors".into(), expr(r#"level == "error""#))], Some("rest".into())),
    ];
    let (ten, parse) = (pipeline(specs), pipeline(vec![StepSpec::ParseJson(Input::Message)]));
    let idle = pipeline((0..10).map(|_| StepSpec::Custom(Box::new(Idle))).collect());
    let [mut one, mut other, mut third] = [block_of(lines), block_of(lines), block_of(lines)];
    let mut ten = || run(&ten, &mut one);
    let mut parse = || run(&parse, &mut other);
    let mut idle = || run(&idle, &mut third);
    assert!(ten() > LINES as u64 / 3 && parse() == LINES as u64 && idle() == LINES as u64);
    cpu::compare(
        work,
        &mut [
            ("steps/ten, parse alone", &mut parse),
            ("steps/ten", &mut ten),
            ("steps/ten, measuring them alone", &mut idle),
        ],
    );
}

/// Does nothing: what is left of a pipeline is what it measures of its steps, and counts.
struct Idle;

impl Step for Idle {
    fn name(&self) -> &'static str {
        "idle"
    }
    fn apply(&self, _: &mut Block, _: usize) -> Result<Verdict, StepError> {
        Ok(Verdict::Keep)
    }
    fn run(&self, _: &mut Block, _: Range<usize>, _: &mut Failures) {}
}

/// A constant, and values of some kinds, each as the only field set behind `parse`.
fn set(work: Work, lines: &[String]) {
    let specs = |given: Option<Given>| {
        let set = given.map(|given| StepSpec::Set(vec![("new".to_owned(), given)]));
        [StepSpec::ParseJson(Input::Message)].into_iter().chain(set).collect()
    };
    let rows = [
        ("steps/set, parse alone", None),
        ("steps/set constant", Some(ConstValue::Text("x".into()).into())),
        ("steps/set took / 1000", Some(Given::Made(value("took / 1000")))),
        ("steps/set lower(host) + ':' + status", Some(Given::Made(value("lower(host) + ':' + status")))),
        ("steps/set template", Some(Given::Made(value("template('{fields.host}-{fields.level}')")))),
        ("steps/set sha256(host)", Some(Given::Made(value("sha256(host)")))),
    ];
    let mut all: Vec<_> = rows
        .into_iter()
        .map(|(name, given)| {
            let (pipeline, mut block) = (pipeline(specs(given)), block_of(lines));
            (name, move || run(&pipeline, &mut block))
        })
        .collect();
    let mut rows: Vec<(&str, &mut dyn FnMut() -> u64)> =
        all.iter_mut().map(|(name, pass)| (*name, pass as &mut dyn FnMut() -> u64)).collect();
    cpu::compare(work, &mut rows);
}

fn expr(text: &str) -> Expr {
    Expr::compile(text).expect("a condition")
}

fn value(text: &str) -> ValueExpr {
    ValueExpr::compile(text).expect("an expression")
}

fn pipeline(specs: Vec<StepSpec>) -> Pipeline {
    Pipeline::compile(specs).expect("steps")
}

fn run(pipeline: &Pipeline, block: &mut Block) -> u64 {
    pipeline.run_guarded(block);
    left(block)
}

fn left(block: &Block) -> u64 {
    count_selected(block.selection(0), 0..LINES) as u64
}

fn line(n: usize) -> String {
    let level = if n % 50 == 7 { "error" } else { ["debug", "info", "warn"][n % 3] };
    format!(
        r#"{{"time":"2026-11-23T10:00:{:02}Z","level":"{level}","host":"Web-{}","status":{},"took":{},"user":{{"name":"u{}"}},"msg":"request served in time","tags":["a","b"]}}"#,
        n % 60,
        n % 9,
        200 + n % 4,
        n * 7,
        n % 40
    )
}

fn block_of(lines: &[String]) -> Block {
    let mut block = Block::new(64 << 10);
    let labels = Labels::new([("app", "shop")]);
    block.begin_run(&Arc::new(Stream::new(SourceId(0), "bench".into(), "bench", "o", labels)));
    for line in lines {
        let at = block.append(line.as_bytes()).expect("room");
        block.push(Entry::at(at, line.len() as u32));
        block.append(b"\n").expect("room");
    }
    block.reset_side();
    block
}
