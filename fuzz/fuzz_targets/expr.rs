//! Conditions and values: any text compiles or is refused in words at a place within it; and what a random condition says
//! of random entries, and what a random value comes to, is what a plain walk over trees says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringmain::block::Block;
use ringmain::entry::Entry;
use ringmain::expr::{Expr, ExprError, TEXT_MAX, ValueExpr};
use ringmain::labels::{Labels, SourceId, Stream};
use ringmain::steps::Step;
use ringmain::steps::parse::json::ParseJson;
use ringmain_fuzz::oracle_expr::{Choices, LABELS, SOURCE};
use ringmain_fuzz::oracle_value::Type;
use std::sync::Arc;

const ENTRIES: usize = 4;

fuzz_target!(|data: &[u8]| {
    let Some((first, rest)) = data.split_first() else { return };
    match first % 3 {
        0 => any_text(rest),
        1 => random_value(rest),
        _ => random_condition(rest),
    }
});

fn any_text(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let block = block_of(&["hello", r#"{"a":{"b":[1,"x"]},"c":2}"#].map(String::from));
    match Expr::compile(text) {
        Ok(expr) => judge(&expr, &block),
        Err(error) => points_into(text, &error),
    }
    match ValueExpr::compile(text) {
        Ok(expr) => drop(expr.find(&block, 1, |_, bytes| assert!(bytes.len() <= TEXT_MAX))),
        Err(error) => points_into(text, &error),
    }
}

fn points_into(text: &str, error: &ExprError) {
    assert!(!error.message.is_empty());
    assert!(text.get(error.start..error.start + error.len).is_some(), "{error:?}");
}

fn random_value(data: &[u8]) {
    let mut choices = Choices(data);
    let calc = choices.calc(4, Type::Any);
    let entries: Vec<_> = (0..ENTRIES).map(|_| choices.entry()).collect();
    let lines: Vec<String> = entries.iter().map(|entry| entry.line.clone()).collect();
    let block = block_of(&lines);
    let text = calc.show();
    let expr = match ValueExpr::compile(&text) {
        Ok(expr) => expr,
        Err(error) => return assert!(text.len() > 4096, "{text}: {error}"),
    };
    for (at, entry) in entries.iter().enumerate() {
        let ours = expr.find(&block, at, |_, bytes| String::from_utf8_lossy(bytes).into_owned());
        let theirs = calc.find(entry).map(|found| found.map(|value| value.text()));
        assert_eq!(ours.ok(), theirs.ok(), "{text} of {}", entry.line);
    }
}

fn random_condition(data: &[u8]) {
    let mut choices = Choices(data);
    let cond = choices.cond(4);
    let entries: Vec<_> = (0..ENTRIES).map(|_| choices.entry()).collect();
    let lines: Vec<String> = entries.iter().map(|entry| entry.line.clone()).collect();
    let block = block_of(&lines);
    let text = cond.show(0);
    let expr = match Expr::compile(&text) {
        Ok(expr) => expr,
        // A long list of choices can be longer than a condition may be.
        Err(error) => return assert!(text.len() > 4096, "{text}: {error}"),
    };
    for (at, entry) in entries.iter().enumerate() {
        assert_eq!(expr.matches(&block, at), cond.holds(entry), "{text} of {}", entry.line);
    }
    judge(&expr, &block);
}

/// All entries together are judged as one by one, and a whole stream as each of them.
fn judge(expr: &Expr, block: &Block) {
    let all = (1 << block.entries().len()) - 1;
    let together = expr.judge(block).word(block, 0, all);
    for at in 0..block.entries().len() {
        let alone = expr.matches(block, at);
        assert_eq!(together >> at & 1 == 1, alone);
        assert!(expr.constant_for(block.stream_of(at)).is_none_or(|constant| constant == alone));
    }
}

fn block_of(lines: &[String]) -> Block {
    let mut block = Block::new(lines.iter().map(|line| line.len() + 1).sum());
    let stream = Stream::new(SourceId(0), SOURCE.into(), "fuzz", "o", Labels::new(LABELS));
    block.begin_run(&Arc::new(stream));
    for line in lines {
        let at = block.append(line.as_bytes()).expect("room");
        block.push(Entry::at(at, line.len() as u32));
        block.append(b"\n").expect("room");
    }
    block.reset_side();
    ParseJson::default().run_alone(&mut block, 0..lines.len());
    block
}
