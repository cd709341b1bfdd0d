//! What does it cost to judge the entries of a block? CPU time of one thread. The bound of each is the plainest loop over
//! the same bytes that gives the same answer; only the ratios travel well between machines.
//!
//! `cargo bench --bench expr [-- PART_OF_A_NAME]`

#![allow(clippy::expect_used, reason = "the lines and conditions are its own")]

// Its measurements for criterion are the other benches'.
#[allow(dead_code)]
mod cpu;

use cpu::Work;
use memchr::memmem;
use ringmain::block::{Block, count_selected};
use ringmain::entry::Entry;
use ringmain::expr::Expr;
use ringmain::labels::{Labels, SourceId, Stream};
use ringmain::steps::Step;
use ringmain::steps::discard::Discard;
use ringmain::steps::parse::json::ParseJson;
use ringmain::steps::redact::Redact;
use ringmain::steps::redact::config::RedactConfig;
use ringmain::steps::redact::patterns::BuiltIn;
use std::sync::Arc;

const LINES: usize = 250;

fn main() {
    let wanted = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    let lines: Vec<String> = (0..LINES).map(line).collect();
    let work = Work { lines: LINES as u64, bytes: lines.iter().map(|line| line.len() as u64 + 1).sum() };
    let block = block_of(&lines);
    let mut parsed = block_of(&lines);
    assert_eq!(ParseJson::default().run_alone(&mut parsed, 0..LINES), 0);

    // One entry in fifty has the text: a search through all of the block, and entry by entry.
    let finder = memmem::Finder::new("timeout");
    let whole = || finder.find_iter(block.text()).count() as u64;
    let each = || lines.iter().filter(|line| finder.find(line.as_bytes()).is_some()).count() as u64;
    judge("expr/contains_message", &wanted, work, &block, r#"contains(message, "timeout")"#, &whole);
    judge("expr/contains_field", &wanted, work, &parsed, r#"contains(msg, "timeout")"#, &each);

    // The value where it stands, compared.
    let levels =
        || values(&block, b"\"level\":\"").filter(|value| value.starts_with(b"debug\"")).count() as u64;
    judge("expr/level_equals", &wanted, work, &parsed, r#"level == "debug""#, &levels);
    let statuses = || values(&block, b"\"status\":").filter(|value| value[0] >= b'5').count() as u64;
    judge("expr/status_at_least", &wanted, work, &parsed, "status >= 500", &statuses);
    let names = || values(&block, b"\"name\":\"").filter(|value| value.starts_with(b"ann\"")).count() as u64;
    judge("expr/nested", &wanted, work, &parsed, r#"user.name == "ann""#, &names);
    let regex = regex::bytes::Regex::new("^/api/v[0-9]+/users").expect("a pattern");
    let paths = || values(&block, b"\"path\":\"").filter(|value| regex.is_match(value)).count() as u64;
    judge("expr/pattern", &wanted, work, &parsed, r#"path =~ "^/api/v[0-9]+/users""#, &paths);

    redact(&wanted, work, &lines);
}

/// One condition over the block by the `discard` step, against `bound`; both must agree.
fn judge(name: &str, wanted: &str, work: Work, block: &Block, condition: &str, bound: &dyn Fn() -> u64) {
    if !name.contains(wanted) {
        return;
    }
    let expr = Expr::compile(condition).expect("a condition");
    let mut one_by_one = || (0..LINES).filter(|at| expr.matches(block, *at)).count() as u64;
    let mut judge = || {
        let mut judge = expr.judge(block);
        let words = LINES.div_ceil(64);
        (0..words).map(|word| u64::from(judge.word(block, word * 64, wanted_in(word)).count_ones())).sum()
    };
    assert_eq!((bound(), bound()), (judge(), one_by_one()), "{name}");
    let mut bound = || bound();
    cpu::compare(
        work,
        &mut [
            (&format!("{name} bound"), &mut bound),
            (&format!("{name} judged together"), &mut judge),
            (&format!("{name} one by one"), &mut one_by_one),
        ],
    );
}

fn wanted_in(word: usize) -> u64 {
    let left = LINES - word * 64;
    if left >= 64 { u64::MAX } else { (1 << left) - 1 }
}

/// Redaction where nothing is found, against one search for each pattern's plainest sign; and a `discard` step with it.
fn redact(wanted: &str, work: Work, lines: &[String]) {
    if !"redact/nothing_found".contains(wanted) {
        return;
    }
    let patterns = vec![BuiltIn::Email, BuiltIn::Ipv4, BuiltIn::CreditCard, BuiltIn::Secret];
    let step = Redact::new(&RedactConfig { patterns, ..RedactConfig::default() }).expect("built-in patterns");
    let discard = Discard::new(Expr::compile("labels.app == \"other\"").expect("a condition"));
    let mut block = block_of(lines);
    let text = block.text().to_vec();
    let mut bound = || {
        let signs = memchr::memchr3_iter(b'@', b'.', b'=', &text).count();
        signs as u64 + text.iter().filter(|byte| byte.is_ascii_digit()).count() as u64
    };
    let mut ours = || {
        assert_eq!(step.run_alone(&mut block, 0..LINES) + discard.run_alone(&mut block, 0..LINES), 0);
        count_selected(block.selection(0), 0..LINES) as u64
    };
    cpu::compare(
        work,
        &mut [("redact/nothing_found bound", &mut bound), ("redact/nothing_found", &mut ours)],
    );
}

/// What follows each occurrence of `sign`.
fn values<'a>(block: &'a Block, sign: &'static [u8]) -> impl Iterator<Item = &'a [u8]> {
    memmem::find_iter(block.text(), sign).map(|at| &block.text()[at + sign.len()..])
}

fn line(n: usize) -> String {
    let (level, status) = (["info", "debug", "warn", "error"][n % 4], [200, 204, 404, 503][n / 4 % 4]);
    let (name, path) = (["ann", "bob", "eve"][n % 3], ["/api/v2/users", "/health", "/index.html"][n % 3]);
    let msg =
        if n.is_multiple_of(50) { "upstream timeout after 30s" } else { "request served from the cache" };
    let fill = "the quick brown fox jumps over the lazy dog";
    format!(
        r#"{{"level":"{level}","status":{status},"user":{{"id":{n},"tags":["a","b"],"name":"{name}"}},"path":"{path}","msg":"{msg}","fill":"{fill}"}}"#
    )
}

fn block_of(lines: &[String]) -> Block {
    let mut block = Block::new(64 << 10);
    let stream = Stream::new(SourceId(0), "edge".into(), "bench", "o", Labels::new([("app", "shop")]));
    block.begin_run(&Arc::new(stream));
    for line in lines {
        let at = block.append(line.as_bytes()).expect("room");
        block.push(Entry::at(at, line.len() as u32));
        block.append(b"\n").expect("room");
    }
    block.reset_side();
    block
}
