mod more;

use super::*;
use crate::block::count_selected;
use crate::entry::{Entry, Kind};
use crate::expr::Expr;
use crate::labels::{Labels, SourceId, Stream};
use crate::steps::discard::Discard;
use crate::steps::parse::input::Input;
use crate::steps::pipeline::{Outcome, Pipeline, StepSpec};
use crate::steps::set::{ConstValue, SetError};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// A block of runs of (the label `app`, lines).
fn block_of(runs: &[(&str, &[&str])]) -> Block {
    let text: usize = runs.iter().flat_map(|(_, lines)| lines.iter()).map(|line| line.len() + 1).sum();
    let mut block = Block::new(text.max(1 << 16));
    for (app, lines) in runs {
        let labels = Labels::new([("app", *app)]);
        block.begin_run(&Arc::new(Stream::new(SourceId(0), "s".into(), "test", *app, labels)));
        for line in *lines {
            let offset = block.append(line.as_bytes()).unwrap();
            block.push(Entry::at(offset, line.len() as u32));
            block.append(b"\n").unwrap();
        }
    }
    block.reset_side();
    block
}

fn discard(condition: &str) -> StepSpec {
    StepSpec::Discard(Expr::compile(condition).unwrap())
}

fn set(fields: &[(&str, ConstValue)]) -> StepSpec {
    StepSpec::Set(fields.iter().map(|(name, value)| ((*name).into(), value.clone().into())).collect())
}

fn live(block: &Block) -> Vec<usize> {
    selected(block.selection(0), 0..block.entries().len()).collect()
}

fn shown(block: &Block, index: usize) -> Vec<String> {
    let one = |field: crate::block::FieldView<'_>| {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        format!("{}={}:{:?}", text(field.key()), text(field.raw()), field.kind())
    };
    block.view(index).fields().map(one).collect()
}

#[test]
fn a_pipeline_parses_discards_and_sets() {
    let share = ConstValue::Number(serde_json::Number::from_f64(0.5).unwrap());
    let specs = vec![
        StepSpec::ParseJson(Input::Message),
        discard("level == 'debug'"),
        set(&[
            ("env", ConstValue::Text("prod".into())),
            ("level", ConstValue::Number(3.into())),
            ("share", share),
            ("nil", ConstValue::Null),
            ("on", ConstValue::Bool(true)),
        ]),
    ];
    let pipeline = Pipeline::compile(specs).unwrap();
    let mut block = block_of(&[(
        "a",
        &[r#"{"level":"debug","n":1}"#, r#"{"level":"info","n":2}"#, "no json", r#"{"n":4}"#],
    )]);
    assert_eq!(pipeline.run_guarded(&mut block), Outcome { errors: 1, panicked: vec![] });
    assert_eq!(live(&block), [1, 2, 3]);
    let rest = ["share=0.5:Number", "nil=null:Null", "on=true:Bool"];
    assert_eq!(shown(&block, 1), [&["level=3:Number", "n=2:Number", "env=prod:Plain"][..], &rest].concat());
    assert_eq!(shown(&block, 2), [&["env=prod:Plain", "level=3:Number"][..], &rest].concat());
    assert_eq!(shown(&block, 3), [&["n=4:Number", "env=prod:Plain", "level=3:Number"][..], &rest].concat());
    assert_eq!(shown(&block, 0), ["level=debug:Plain", "n=1:Number"]);
    assert_eq!(block.entries()[1].fields_spare, 1, "room for five was left, four were new");
    assert_eq!(block.bytes(block.fields_of(1)[2].key()), b"env");
}

#[test]
fn a_pipeline_can_be_run_again_and_gives_the_same() {
    let specs =
        vec![StepSpec::ParseJson(Input::Message), discard("a == 1"), set(&[("b", ConstValue::Bool(false))])];
    let pipeline = Pipeline::compile(specs).unwrap();
    let mut block = block_of(&[("a", &[r#"{"a":1}"#, r#"{"a":2}"#])]);
    for _ in 0..3 {
        assert_eq!(pipeline.run_guarded(&mut block), Outcome::default());
        assert_eq!(
            (live(&block), shown(&block, 1)),
            (vec![1], vec!["a=2:Number".into(), "b=false:Bool".into()])
        );
    }
}

#[test]
fn an_empty_pipeline_wants_everything() {
    let pipeline = Pipeline::compile(Vec::<StepSpec>::new()).unwrap();
    assert!(pipeline.is_empty());
    let mut block = block_of(&[("a", &["x", "y"])]);
    block.discard(0);
    assert_eq!(pipeline.run_guarded(&mut block), Outcome::default());
    assert_eq!(live(&block), [0, 1]);
}

#[test]
fn what_a_step_cannot_work_on_passes_or_is_taken_out_and_is_counted_by_step() {
    for (on_error, wanted) in [(OnError::Pass, vec![0, 1]), (OnError::Discard, vec![0])] {
        let specs = vec![
            StepSpec::ParseJson(Input::Message).on_error(on_error),
            StepSpec::Keep(Expr::compile("n != 3").unwrap()).into(),
        ];
        let pipeline = Pipeline::compile(specs).unwrap();
        for _ in 0..2 {
            let mut block = block_of(&[("a", &[r#"{"n":1}"#, "no json", r#"{"n":3}"#])]);
            assert_eq!(pipeline.run_guarded(&mut block), Outcome { errors: 1, panicked: vec![] });
            assert_eq!(live(&block), wanted, "{on_error:?}");
        }
        let views: Vec<_> = pipeline.views().collect();
        let numbers = |at: usize| (views[at].entries, views[at].errors, views[at].discarded);
        let out = 3 - 1 - wanted.len() as u64;
        assert_eq!((numbers(0), numbers(1)), ((6, 2, 2 * out), (6 - 2 * out, 0, 2)));
        assert_eq!((views[0].number, views[0].verb, views[1].verb), (1, "parse", "keep"));
        assert_eq!(views[0].last_error.as_deref(), Some("not a JSON object"));
    }
}

#[test]
fn json_is_read_from_the_message_a_field_or_what_was_put_in_place_of_the_text() {
    let key = |block: &mut Block, name: &str, raw: &str, kind| {
        let (key, value) = (block.store(name.as_bytes()).unwrap(), block.store(raw.as_bytes()).unwrap());
        block.set_field(0, crate::entry::Field::new(key, value, kind)).unwrap();
    };
    let mut block = block_of(&[("a", &[r#"{"secret":1}"#])]);
    block.replace_text(0, br#"{"open":1}"#).unwrap();
    let parse = |input, block: &mut Block| parse::json::ParseJson::of(input).run_alone(block, 0..1);
    assert_eq!(parse(Input::Message, &mut block), 0);
    assert_eq!(shown(&block, 0), ["open=1:Number"]);

    key(&mut block, "message", r#"{"a":"x"}"#, Kind::Plain);
    key(&mut block, "inner", r#"{\"b\":\"\u00e9\"}"#, Kind::Escaped);
    assert_eq!(parse(Input::Message, &mut block), 0);
    assert_eq!(parse(Input::named(Some("inner")), &mut block), 0);
    assert_eq!(shown(&block, 0)[3..], ["a=x:Plain", "b=é:Plain"]);
    assert_eq!(parse(Input::named(Some("none")), &mut block), 1);
}

#[test]
fn constants_that_no_block_could_hold_are_refused() {
    let compile = |name: String, value: String| {
        Pipeline::compile(vec![StepSpec::Set(vec![(name, ConstValue::Text(value).into())])]).err()
    };
    assert_eq!(compile("k".repeat(1024), "v".into()), None);
    assert!(matches!(compile("k".repeat(1025), "v".into()), Some(SetError::KeyTooLong(_))));
    assert_eq!(compile("k".into(), "v".repeat(1 << 20)), Some(SetError::TooLarge));
}

#[test]
fn discard_over_a_span_takes_out_what_it_takes_out_one_by_one() {
    let lines: Vec<String> = (0..200).map(|at| format!("{{\"n\":{}}}", at % 3)).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let (a, rest) = lines.split_at(70);
    let (b, c) = rest.split_at(5);
    for condition in
        ["n == 1", "labels.app == 'b'", "labels.app == 'b' or n == 0", "labels.app != 'x'", "n == 'x'"]
    {
        for range in [0..200, 0..0, 63..64, 64..128, 70..75, 10..190, 199..200] {
            let step = Discard::new(Expr::compile(condition).unwrap());
            let mut blocks = [(); 2].map(|()| block_of(&[("a", a), ("b", b), ("c", c)]));
            for block in &mut blocks {
                assert_eq!(parse::json::ParseJson::default().run_alone(block, 0..200), 0);
                (0..200).step_by(7).for_each(|at| block.discard(at));
            }
            let [spanwise, single] = &mut blocks;
            assert_eq!(step.run_alone(spanwise, range.clone()), 0);
            for at in live(single) {
                if range.contains(&at) && step.apply(single, at).unwrap() == Verdict::Discard {
                    single.discard(at);
                }
            }
            assert_eq!(live(spanwise), live(single), "{condition} {range:?}");
        }
    }
}

/// Panics at entries whose text says so, and counts what it sees.
struct Bomb(Arc<AtomicUsize>);

impl Step for Bomb {
    fn name(&self) -> &'static str {
        "bomb"
    }

    fn apply(&self, block: &mut Block, index: usize) -> Result<Verdict, StepError> {
        self.0.fetch_add(1, Relaxed);
        assert!(!block.view(index).text().starts_with(b"boom"), "as the entry says");
        let value = block.store(b"seen")?;
        block.set_field(index, crate::entry::Field::new(value, value, Kind::Plain))?;
        match block.view(index).text() {
            b"bad" => Err(StepError::Malformed("as the entry says")),
            b"out" => Ok(Verdict::Discard),
            _ => Ok(Verdict::Keep),
        }
    }
}

#[test]
fn a_panic_costs_only_the_entry_that_panics_by_itself() {
    let seen = Arc::new(AtomicUsize::new(0));
    let specs =
        vec![StepSpec::Custom(Box::new(Bomb(Arc::clone(&seen)))), set(&[("x", ConstValue::Bool(true))])];
    let pipeline = Pipeline::compile(specs).unwrap();
    let mut block = block_of(&[("a", &["one", "out", "boom 1", "bad", "two"]), ("b", &["boom 2", "three"])]);
    let outcome = pipeline.run_guarded(&mut block);
    assert_eq!(outcome, Outcome { errors: 1, panicked: vec![2, 5] });
    assert_eq!(live(&block), [0, 3, 4, 6]);
    assert_eq!(seen.load(Relaxed), 3 + 7, "up to the first panic, then each by itself");
    for index in live(&block) {
        assert_eq!(shown(&block, index), ["seen=seen:Plain", "x=true:Bool"]);
    }
    assert_eq!(count_selected(block.selection(0), 0..7), 4);
}

#[test]
fn what_is_to_be_a_dead_letter_is_taken_out_with_its_reason_which_goes_along_with_a_copy() {
    let bomb = StepSpec::Custom(Box::new(Bomb(Arc::default()))).on_error(OnError::DeadLetter);
    let pipeline = Pipeline::compile(vec![bomb]).unwrap();
    let mut block = block_of(&[("a", &["one", "bad", "boom", "two", "bad"])]);
    for _ in 0..2 {
        let outcome = pipeline.run_guarded(&mut block);
        assert_eq!(outcome, Outcome { errors: 2, panicked: vec![2] });
        assert_eq!(live(&block), [0, 3]);
        block.open_selections(0, 1);
        let row = block.select_refused(1);
        assert_eq!(selected(block.selection(row.into()), 0..5).collect::<Vec<_>>(), [1, 2, 4]);
    }
    let bad = block.view(4).refusal().unwrap();
    assert_eq!((bad.panicked, &*bad.why), (false, "step 1 (bomb): as the entry says"));
    let boom = block.view(2).refusal().unwrap();
    assert_eq!((boom.panicked, &*boom.why), (true, "a step panicked: as the entry says"));
    assert!(block.view(0).refusal().is_none());
    let mut copy = Block::new(1 << 12);
    copy.begin_run(block.stream_of(0));
    assert!(copy.copy_entry(&block, 2) && copy.copy_entry(&block, 3));
    assert_eq!(copy.view(0).refusal().map(|refusal| (refusal.entry, refusal.panicked)), Some((0, true)));
    assert!(copy.view(1).refusal().is_none());
    block.reset_side();
    assert!(block.refused().is_empty());
}

fn edited(specs: Vec<StepSpec>, line: &str) -> Vec<String> {
    let mut block = block_of(&[("a", &[line])]);
    let specs: Vec<_> = [StepSpec::ParseJson(Input::Message)].into_iter().chain(specs).collect();
    assert_eq!(Pipeline::compile(specs).unwrap().run_guarded(&mut block), Outcome::default());
    shown(&block, 0)
}

fn rename(pairs: &[(&str, &str)]) -> StepSpec {
    StepSpec::Rename(pairs.iter().map(|(old, new)| ((*old).into(), (*new).into())).collect())
}

#[test]
fn fields_are_renamed_all_at_once_and_what_had_the_name_gives_way() {
    let line = r#"{"a":1,"b":2,"c":3,"\u0064":4}"#;
    let renamed = |pairs: &[(&str, &str)]| edited(vec![rename(pairs)], line);
    assert_eq!(renamed(&[("a", "x")]), ["x=1:Number", "b=2:Number", "c=3:Number", "\\u0064=4:Number"]);
    assert_eq!(renamed(&[("a", "b"), ("b", "a")])[..2], ["b=1:Number", "a=2:Number"]);
    assert_eq!(renamed(&[("a", "c")]), ["c=1:Number", "b=2:Number", "\\u0064=4:Number"]);
    assert_eq!(renamed(&[("none", "c")])[2], "c=3:Number", "nothing gives way to nothing");
    assert_eq!(renamed(&[("d", "a")]), ["b=2:Number", "c=3:Number", "a=4:Number"]);
    let again = vec![rename(&[("a", "x")]), rename(&[("x", "a")]), set(&[("e", ConstValue::Bool(true))])];
    assert_eq!(edited(again, line).last().unwrap(), "e=true:Bool");
}

#[test]
fn fields_are_removed_by_name_however_it_is_written() {
    let line = r#"{"a":1,"b":2,"\u0061":3,"c":4}"#;
    let remove = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).into()).collect();
        StepSpec::Custom(Box::new(edit::Remove::new(&names)))
    };
    assert_eq!(edited(vec![remove(&["a", "none"])], line), ["b=2:Number", "c=4:Number"]);
    let all = vec![remove(&["a", "b", "c"]), set(&[("d", ConstValue::Null)])];
    assert_eq!(edited(all, line), ["d=null:Null"]);
}
