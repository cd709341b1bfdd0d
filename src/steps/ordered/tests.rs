//! Ordered steps against a walk that does one entry after the other, and each of their promises by itself.

use super::config::{DedupeConfig, Emit, ThrottleConfig};
use super::dedupe::{COUNT, Dedupe, Repeat};
use super::*;
use crate::entry::Entry;
use crate::expr::Expr;
use crate::labels::{Labels, SourceId, Stream};
use crate::steps::parse::input::Input;
use crate::steps::pipeline::{Pipeline, Planned, StepSpec};
use proptest::prelude::*;
use std::time::Duration;

const SEC: i64 = 1_000_000_000;

/// A block of JSON lines.
fn block_of(texts: &[String]) -> Block {
    let mut block = Block::new(64 << 10);
    let labels = Labels::new([("app", "shop")]);
    block.begin_run(&Arc::new(Stream::new(SourceId(0), "in".into(), "test", "o", labels)));
    for text in texts {
        let offset = block.append(text.as_bytes()).unwrap();
        block.push(Entry::at(offset, text.len() as u32));
    }
    block
}

fn dedupe(yaml: &str) -> (Arc<Dedupe>, Arc<dyn Ordered>) {
    let config: DedupeConfig = serde_yaml::from_str(yaml).unwrap();
    let dedupe = Arc::new(Dedupe::new(&config).unwrap_or_else(|_| panic!("{yaml}")));
    (Arc::clone(&dedupe), dedupe)
}

fn throttle(yaml: &str) -> Arc<dyn Ordered> {
    let config: ThrottleConfig = serde_yaml::from_str(yaml).unwrap();
    config.make().unwrap_or_else(|_| panic!("{yaml}"))
}

fn pipeline(steps: Vec<StepSpec>) -> Pipeline {
    Pipeline::compile(steps.into_iter().map(Planned::from).collect()).unwrap()
}

/// Whether each of `texts`, which are one block, goes through `steps` at `now`.
fn passes(steps: &Pipeline, now: i64, texts: &[&str]) -> Vec<bool> {
    let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
    let mut block = block_of(&texts);
    steps.run_guarded(&mut block);
    let decided = steps.decide(&block, now);
    (0..texts.len()).map(|at| is_set(block.selection(0), at) && !is_set(&decided.out, at)).collect()
}

fn told(dedupe: &Dedupe, now: Option<i64>) -> Vec<(String, u64)> {
    let mut repeats = Vec::new();
    while !dedupe.closed(now, 1, &mut repeats) {}
    let text = |repeat: &Repeat| {
        let mut block = Block::new(4096);
        assert!(repeat.entry.put(&mut block, (COUNT, repeat.count)));
        block.reset_side();
        let count = block.view(0).field(COUNT.as_bytes()).unwrap().raw().to_vec();
        assert_eq!(count, repeat.count.to_string().into_bytes());
        (String::from_utf8(block.view(0).text().to_vec()).unwrap(), repeat.count)
    };
    repeats.iter().map(text).collect()
}

#[test]
fn equals_are_taken_out_until_the_window_of_the_first_closes_and_then_counted() {
    let (dedupe, step) = dedupe("{ window: 5s }");
    let steps = pipeline(vec![StepSpec::Ordered(step)]);
    assert_eq!(passes(&steps, 0, &["a", "b", "a"]), [true, true, false]);
    // The window is of the first, however many come.
    assert_eq!(passes(&steps, 4 * SEC, &["a", "a"]), [false, false]);
    assert_eq!(told(&dedupe, Some(5 * SEC - 1)), []);
    assert_eq!(passes(&steps, 5 * SEC, &["a", "b", "b"]), [true, true, false]);
    assert_eq!(told(&dedupe, Some(5 * SEC)), [("a".to_owned(), 3)]);
    assert_eq!(told(&dedupe, None), [("b".to_owned(), 1)]);
    assert_eq!(dedupe.view().keys, 0);
}

#[test]
fn what_makes_entries_equal_is_said_by_the_fields() {
    let steps =
        |yaml: &str| pipeline(vec![StepSpec::ParseJson(Input::Message), StepSpec::Ordered(dedupe(yaml).1)]);
    let texts =
        [r#"{"a":1,"b":2}"#, r#"{"a":1,"b":3}"#, r#"{"a":"1","b":2}"#, r#"{"b":2}"#, r#"{"b":2,"c":null}"#];
    assert_eq!(passes(&steps("{ fields: a }"), 0, &texts), [true, false, true, true, false]);
    assert_eq!(passes(&steps("{ fields: [a, b] }"), 0, &texts), [true, true, true, true, false]);
    assert_eq!(passes(&steps("{ fields: labels.app }"), 0, &texts), [true, false, false, false, false]);
    assert_eq!(passes(&steps("{}"), 0, &texts), [true; 5]);
}

#[test]
fn a_key_too_many_closes_the_oldest_window_and_its_count_is_told() {
    let (dedupe, step) = dedupe("{ window: 5s, max_keys: 2 }");
    let steps = pipeline(vec![StepSpec::Ordered(step)]);
    assert_eq!(passes(&steps, 0, &["a", "a", "b", "c", "a", "c"]), [true, false, true, true, true, false]);
    assert_eq!(dedupe.view(), OrderedView { keys: 2, evicted: 2, lost_counts: 0 });
    assert_eq!(told(&dedupe, None), [("a".to_owned(), 1), ("c".to_owned(), 1)]);
}

#[test]
fn without_room_to_keep_what_a_count_is_of_equals_pass() {
    let (dedupe, step) = dedupe("{ max_bytes: 1 }");
    let steps = pipeline(vec![StepSpec::Ordered(step)]);
    assert_eq!(passes(&steps, 0, &["a", "a", "a"]), [true; 3]);
    assert_eq!((told(&dedupe, None), dedupe.view().evicted), (vec![], 2));
    let steps = pipeline(vec![StepSpec::Ordered(self::dedupe("{ max_bytes: 1, emit: nothing }").1)]);
    assert_eq!(passes(&steps, 0, &["a", "a", "a"]), [true, false, false]);
}

#[test]
fn memory_of_what_is_kept_comes_back_when_it_is_told() {
    let (dedupe, step) = dedupe("{ window: 1s, max_bytes: 500 }");
    let steps = pipeline(vec![StepSpec::Ordered(step)]);
    for round in 0..100 {
        assert_eq!(passes(&steps, round * SEC, &["a", "a", "a"]), [true, false, false], "{round}");
        if round % 2 == 0 {
            let mut repeats = Vec::new();
            dedupe.closed(None, 10, &mut repeats);
            // Given, not given for want of room, and given then.
            repeats.drain(..).for_each(|repeat| dedupe.put_back(repeat));
            dedupe.closed(None, 10, &mut repeats);
            repeats.drain(..).for_each(|repeat| dedupe.give_back(repeat.entry));
        }
    }
}

#[test]
fn what_is_not_fetched_is_lost_beyond_a_bound_and_counted() {
    let (dedupe, step) = dedupe("{ window: 1s, max_keys: 3 }");
    let steps = pipeline(vec![StepSpec::Ordered(step)]);
    for round in 0..6 {
        assert_eq!(passes(&steps, round * SEC, &["a", "a"]), [true, false]);
    }
    assert_eq!(dedupe.view().lost_counts, 2);
    assert_eq!(told(&dedupe, None).len(), 3);
}

#[test]
fn what_a_source_gives_again_passes_once_it_was_said() {
    let (dedupe, step) = dedupe("{ window: 5s }");
    let steps = pipeline(vec![StepSpec::Ordered(step)]);
    assert_eq!(passes(&steps, 0, &["a", "a"]), [true, false]);
    steps.forget_order();
    assert_eq!(passes(&steps, 1, &["a", "a"]), [true, false]);
    assert_eq!(told(&dedupe, None), [("a".to_owned(), 1), ("a".to_owned(), 1)]);
}

#[test]
fn a_burst_passes_at_once_and_then_as_many_as_the_rate_says() {
    let step = throttle("{ rate: 2, every: 1s, burst: 3 }");
    let steps = pipeline(vec![StepSpec::Ordered(step)]);
    let passed = |now: i64| passes(&steps, now, &["a"; 6]).iter().filter(|passes| **passes).count();
    assert_eq!(passed(0), 3);
    assert_eq!(passed(SEC / 2 - 1), 0);
    assert_eq!([passed(SEC / 2), passed(SEC / 2)], [1, 0]);
    assert_eq!(passed(10 * SEC), 3);
    let steps = pipeline(vec![StepSpec::Ordered(throttle("{ rate: 2 }"))]);
    assert_eq!(passes(&steps, 0, &["a"; 4]), [true, true, false, false]);
}

#[test]
fn keys_are_counted_apart_and_the_one_seen_longest_ago_is_forgotten_first() {
    let text = |step: &Arc<dyn Ordered>, texts: &[&str]| {
        passes(&pipeline(vec![StepSpec::Ordered(Arc::clone(step))]), 0, texts)
    };
    let step = throttle("{ rate: 1, per: message, max_keys: 2 }");
    assert_eq!(text(&step, &["a", "b", "a"]), [true, true, false]);
    // It was `b` that was seen longest ago.
    assert_eq!(text(&step, &["c", "a", "b"]), [true, false, true]);
    assert_eq!(step.view(), OrderedView { keys: 2, evicted: 2, lost_counts: 0 });
}

/// One entry, and what becomes of it, by the rules read one after the other.
struct Naive {
    windows: Vec<(String, i64)>,
    passed: Vec<i64>,
}

impl Naive {
    /// Discards `x`, dedupes by `k`, discards `y`, lets 3 in 10 seconds pass, discards `z`.
    fn goes(&mut self, now: i64, k: u8, d: char) -> (bool, bool) {
        if d == 'x' {
            return (false, false);
        }
        self.windows.retain(|(_, opened)| now - opened < 5 * SEC);
        if self.windows.iter().any(|(key, _)| *key == k.to_string()) {
            return (false, false);
        }
        self.windows.push((k.to_string(), now));
        if d == 'y' {
            return (false, false);
        }
        // A bucket of three that fills evenly, in thirds of ten seconds.
        let interval = 10 * SEC / 3;
        let due = self.passed.last().copied().unwrap_or(0);
        if due - now > 2 * interval {
            return (false, true);
        }
        self.passed.push(due.max(now) + interval);
        (d != 'z', false)
    }
}

proptest! {
    #[test]
    fn blocks_decided_in_turn_come_out_as_if_the_steps_ran_one_after_the_other(
        blocks in prop::collection::vec((0..4 * SEC, prop::collection::vec((0..5_u8, 0..5_usize), 1..90)), 1..8),
    ) {
        let discard = |d: &str| StepSpec::Discard(Expr::compile(&format!("d == '{d}'")).unwrap());
        let steps = pipeline(vec![
            StepSpec::ParseJson(Input::Message),
            discard("x"),
            StepSpec::Ordered(dedupe("{ fields: k, window: 5s, emit: nothing }").1),
            discard("y"),
            StepSpec::Ordered(throttle("{ rate: 3, every: 10s }")),
            discard("z"),
        ]);
        let mut naive = Naive { windows: Vec::new(), passed: Vec::new() };
        let mut now = 0;
        // Worked on in any order; decided in turn.
        let mut worked: Vec<_> = blocks.iter().map(|(_, entries)| {
            let text = |(k, d): &(u8, usize)| format!(r#"{{"k":"{k}","d":"{}"}}"#, ["a", "x", "y", "z", "b"][*d]);
            block_of(&entries.iter().map(text).collect::<Vec<_>>())
        }).collect();
        worked.iter_mut().rev().for_each(|block| { steps.run_guarded(block); });
        for (block, (later, entries)) in worked.iter_mut().zip(&blocks) {
            now += later;
            let decided = steps.decide(block, now);
            let live = block.selection(0).to_vec();
            let goes: Vec<_> = entries.iter().map(|(k, d)| naive.goes(now, *k, ['a', 'x', 'y', 'z', 'b'][*d])).collect();
            for (at, (goes, throttled)) in goes.iter().enumerate() {
                prop_assert_eq!(is_set(&live, at) && !is_set(&decided.out, at), *goes, "entry {}", at);
                prop_assert!(!throttled || is_set(&decided.out, at));
            }
            prop_assert_eq!(decided.throttled as usize, goes.iter().filter(|(_, throttled)| *throttled).count());
            prop_assert_eq!(decided.taken as usize, count_selected(&decided.out, 0..entries.len()));
        }
        let views: Vec<_> = steps.views().collect();
        let total = |at: usize| views[at].discarded as usize;
        let all: usize = blocks.iter().map(|(_, entries)| entries.len()).sum();
        prop_assert!(views[2].entries as usize + total(1) == all);
    }

    #[test]
    fn no_time_lets_more_pass_than_its_burst_and_its_rate(
        waits in prop::collection::vec(0..SEC / 2, 1..200), rate in 1..20_usize, burst in 1..8_usize,
    ) {
        let steps = pipeline(vec![StepSpec::Ordered(throttle(&format!("{{ rate: {rate}, burst: {burst} }}")))]);
        let (mut now, mut passed) = (0, Vec::new());
        for wait in waits {
            now += wait;
            if passes(&steps, now, &["a"])[0] {
                passed.push(now);
            }
        }
        for from in 0..passed.len() {
            for to in from..passed.len() {
                let (time, count) = (passed[to] - passed[from], (to - from + 1) as i64);
                prop_assert!(count <= burst as i64 + time / (SEC / rate as i64));
            }
        }
    }
}

#[test]
fn keys_of_steps_are_read_with_their_defaults() {
    let config: DedupeConfig = serde_yaml::from_str("{}").unwrap();
    assert_eq!((config.window, config.max_keys, config.emit), (Duration::from_secs(5), 10_000, Emit::Count));
    assert!(serde_yaml::from_str::<DedupeConfig>("{ fields: [] }").is_err());
    assert!(serde_yaml::from_str::<ThrottleConfig>("{}").is_err());
}
