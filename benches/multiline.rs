//! What does it cost to join lines? The bound is a plain loop over the newlines that looks at each line's first byte.
//!
//! `cargo bench --bench multiline`

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test says with them what it relies on")]

// Its measurements for criterion are the other benches'.
#[allow(dead_code)]
mod cpu;

use cpu::Work;
use memchr::memchr_iter;
use regex::bytes::Regex;
use ringmain::sources::framing::LineFramer;
use ringmain::sources::multiline::framer::EventFramer;
use ringmain::sources::multiline::pattern::Pattern;
use ringmain::sources::multiline::preset::Preset;
use ringmain::sources::multiline::{Rule, Rules};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

const BLOCK: usize = 64 * 1024;

/// Lines of an application: one trace of `frames` lines to `plain` lines of 120 bytes.
fn block(plain: usize, frames: usize) -> (Vec<u8>, Work) {
    let (mut text, mut lines) = (Vec::new(), 0);
    while text.len() + 6000 < BLOCK {
        for at in 0..plain {
            let line = format!("2026-11-23 10:00:00,{at:03} INFO  [main] com.acme.App - request {lines} ");
            text.extend_from_slice(format!("{line:x<119}\n").as_bytes());
        }
        if frames > 0 {
            text.extend_from_slice(b"2026-11-23 10:00:00,999 ERROR [main] com.acme.App - request failed\n");
            text.extend_from_slice(b"java.lang.IllegalStateException: no such item\n");
            for at in 0..frames {
                text.extend_from_slice(
                    format!("\tat com.acme.service.Items.find(Items.java:{at})\n").as_bytes(),
                );
            }
        }
        lines = memchr_iter(b'\n', &text).count() as u64;
    }
    let bytes = text.len() as u64;
    (text, Work { lines, bytes })
}

/// The least that joining can be: each line's end is found, and its first byte decides.
fn bound(text: &[u8], index: &mut Vec<(u32, u32)>) -> u64 {
    index.clear();
    let (mut event, mut line) = (0, 0);
    for end in memchr_iter(b'\n', text) {
        if !matches!(text[line], b' ' | b'\t') && line > event {
            index.push((event as u32, (line - 1 - event) as u32));
            event = line;
        }
        line = end + 1;
    }
    index.len() as u64
}

fn lines(text: &[u8], index: &mut Vec<(u32, u32)>) -> u64 {
    index.clear();
    LineFramer::new(BLOCK).feed(text, |frame| index.push((frame.start, frame.len)));
    index.len() as u64
}

fn events(rules: &Arc<Rules>, text: &[u8], index: &mut Vec<(u32, u32)>) -> u64 {
    index.clear();
    let (mut framer, mut at) = (EventFramer::new(Arc::clone(rules), BLOCK), 0);
    while let Some(event) = framer.next_event(text, &mut at) {
        index.push((event.start, event.len));
    }
    index.len() as u64
}

/// The same with nothing in front of the expression.
fn by_regex(regex: &Regex, text: &[u8], index: &mut Vec<(u32, u32)>) -> u64 {
    index.clear();
    let (mut event, mut line) = (0, 0);
    for end in memchr_iter(b'\n', text) {
        if regex.is_match(&text[line..end]) && line > event {
            index.push((event as u32, (line - 1 - event) as u32));
            event = line;
        }
        line = end + 1;
    }
    index.len() as u64
}

fn main() {
    let rules =
        |rule| Arc::new(Rules { rule, max_lines: 500, max_bytes: BLOCK, timeout: Duration::from_secs(1) });
    let pattern = |text| Pattern::compile(text).expect("a pattern");
    let date = r"^\d{4}-\d{2}-\d{2}";
    let regex = Regex::new(date).expect("an expression");
    let kinds = [
        ("continue_blank", rules(Rule::Continue(pattern(r"^\s")))),
        ("start_date", rules(Rule::Start(pattern(date)))),
        ("end_anywhere", rules(Rule::End(pattern(r"\)$")))),
        ("preset_java", rules(Rule::Preset(Preset::Java))),
        ("preset_python", rules(Rule::Preset(Preset::Python))),
        ("preset_go", rules(Rule::Preset(Preset::Go))),
    ];
    for (name, plain, frames) in [("lines", 10, 0), ("mixed", 20, 20), ("traces", 0, 30)] {
        let (text, work) = block(plain, frames);
        println!("{name}: {} lines of {} bytes", work.lines, work.bytes / work.lines);
        let indexes: Vec<Vec<(u32, u32)>> = (0..kinds.len() + 3).map(|_| Vec::with_capacity(4096)).collect();
        let mut indexes = indexes.into_iter();
        let mut next = || indexes.next().expect("one for each");
        let (mut first, mut second, mut third) = (next(), next(), next());
        let (text, regex) = (&text, &regex);
        let mut bound = || bound(black_box(text), &mut first);
        let mut lines = || lines(black_box(text), &mut second);
        let mut plain = || by_regex(regex, black_box(text), &mut third);
        let mut runs: Vec<(&str, Box<dyn FnMut() -> u64>)> = Vec::new();
        for (name, rules) in &kinds {
            let mut index = next();
            runs.push((name, Box::new(move || events(rules, black_box(text), &mut index))));
        }
        let mut all: Vec<(&str, &mut dyn FnMut() -> u64)> =
            vec![("bound: newlines and first bytes", &mut bound), ("no multiline", &mut lines)];
        all.extend(runs.iter_mut().map(|(name, run)| (*name, &mut **run as &mut dyn FnMut() -> u64)));
        all.push(("start_date by the expression alone", &mut plain));
        cpu::compare(work, &mut all);
    }
}
