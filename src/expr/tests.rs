use super::*;
use crate::block::Block;
use crate::entry::{Entry, Field, Kind};
use crate::labels::{Labels, SourceId};
use crate::steps::Step;
use crate::steps::parse::json::ParseJson;
use oracle_expr::{Choices, Cond};
use proptest::prelude::*;
use std::sync::Arc;

#[path = "../../fuzz/src/oracle_expr.rs"]
mod oracle_expr;
#[path = "../../fuzz/src/oracle_value.rs"]
mod oracle_value;
mod values;

type Member = (&'static str, &'static str, Kind);

fn stream(app: &str) -> Arc<Stream> {
    Arc::new(Stream::new(
        SourceId(0),
        "edge".into(),
        "test",
        "o",
        Labels::new([("app", app), ("weird-key", "1")]),
    ))
}

/// A block of one entry with the text `hello` and these fields.
fn entry_of(members: &[Member]) -> Block {
    let mut block = Block::new(64);
    block.begin_run(&stream("shop"));
    block.append(b"hello").unwrap();
    block.push(Entry::at(0, 5));
    block.reset_side();
    for (key, raw, kind) in members {
        let (key_slice, value) = (block.store(key.as_bytes()).unwrap(), block.store(raw.as_bytes()).unwrap());
        let field = Field::new(key_slice, value, *kind);
        block.set_field(0, if key.contains('\\') { field.with_escaped_key() } else { field }).unwrap();
    }
    block
}

fn holds(condition: &str, members: &[Member]) -> bool {
    let block = entry_of(members);
    let expr = Expr::compile(condition).unwrap_or_else(|error| panic!("{condition}: {error}"));
    let answer = expr.matches(&block, 0);
    if let Some(constant) = expr.constant_for(block.stream_of(0)) {
        assert_eq!(constant, answer, "{condition}");
    }
    answer
}

#[test]
fn conditions_hold_as_the_manual_says() {
    let members = [
        ("level", "error", Kind::Plain),
        ("msg", "say \\\"hi\\\" \\u00e9", Kind::Escaped),
        ("status", "500", Kind::Number),
        ("ok", "true", Kind::Bool),
        ("nil", "null", Kind::Null),
        ("list", "[1]", Kind::Json),
        ("weird-key", "x", Kind::Plain),
        ("a.b", "dotted", Kind::Plain),
        ("message", "field", Kind::Plain),
        ("es\\u0063", "1", Kind::Plain),
        ("two", "first", Kind::Plain),
        ("tw\\u006f", "last", Kind::Plain),
        ("took", "1.5", Kind::Plain),
        ("user", r#"{"name":"ann","tags":["a b",{"id":9007199254740993}],"in":{"x y":true}}"#, Kind::Json),
    ];
    let true_ones = [
        r#"level == "error""#,
        r"level == 'error'",
        r#"level != "info""#,
        r#"msg == "say \"hi\" é""#,
        r#"msg == 'say "hi" \u00e9'"#,
        "status == 500",
        "status == 5e2",
        "status != 501",
        r#"status == "500""#,
        r#"status != "500.0""#,
        "ok == true",
        "ok != false",
        r#"ok == "true""#,
        "nil == null",
        r#"list == "[1]""#,
        "list != 1",
        "level != true",
        "`weird-key` == 'x'",
        "`a.b` == 'dotted'",
        "`message` == 'field'",
        "message == 'field'",
        "source == 'edge'",
        "labels.app == 'shop'",
        "labels.`weird-key` == '1'",
        "labels.none != 'x'",
        "missing != null",
        "missing != 'x'",
        "not missing == null",
        "esc == '1'",
        "two == 'last'",
        "not not ok == true",
        "ok == false or ok == true and level == 'error'",
        "(ok == false or ok == true) and level == 'error'",
        "not ok == false and not (level == 'info' or status == 1)",
        "\tok==true\nand\n(nil==null)",
        "status >= 500 and status <= 5e2 and not status > 500 and not status < 500",
        "status > 499.999 and status != 6 or took < 2",
        "took == 1.5 and took >= 1.50 and took > 1",
        "level < 'f' and level >= 'error' and not level > 'error'",
        "not level < 5 and not missing < 5 and not missing >= 5 and not ok > 0",
        "level in ['info', 'error'] and status in [400, 500] and status in ['500']",
        "level not in ['info', 'warn'] and missing not in ['x', null]",
        "level in ['a', 'b', 'c', 'd', 'e', 'error', 'f'] and nil in [1, null] and ok in [true,]",
        "level =~ '^err' and level !~ 'ERR' and level =~ '(?i)ERR' and missing !~ '.'",
        r#"msg =~ '"hi" é$' and status =~ '^5\\d+$'"#,
        r#"contains(msg, '"hi"') and starts_with(msg, "say") and ends_with(msg, 'é')"#,
        "contains(labels.app, 'ho') and starts_with(source, 'ed') and not contains(missing, 'x')",
        "exists level and exists nil and not exists missing and exists labels.app and not exists labels.none",
        "user.name == 'ann' and fields.user.name == 'ann' and user['name'] == 'ann' and `user`.name in ['ann']",
        "user.tags[0] == 'a b' and user.tags[1].id == 9007199254740993 and user.tags[1].id != 9007199254740992",
        "user.in.'x y' == true and user.in[\"x y\"] == true and exists user.tags[1] and not exists user.tags[2]",
        "not exists user.name.x and not exists level.x and not exists level[0] and exists user.in",
        "fields.level == 'error' and fields.`a.b` == 'dotted' and fields.'a.b' == 'dotted'",
        "fields.message == 'field' and exists fields.message and not exists message.x",
    ];
    for condition in true_ones {
        assert!(holds(condition, &members), "{condition}");
        assert!(!holds(&format!("not ({condition})"), &members), "{condition}");
    }
}

#[test]
fn message_is_the_text_where_no_field_is_called_so() {
    assert!(holds("message == 'hello' and `message` != 'hello'", &[]));
    assert!(holds("message != 'hello' and message == '1'", &[("message", "1", Kind::Number)]));
}

#[test]
fn labels_and_source_are_decided_for_a_whole_stream() {
    let (shop, bank) = (stream("shop"), stream("bank"));
    let rows = [
        ("labels.app == 'shop'", Some(true), Some(false)),
        ("labels.app != 'shop' or source == 'edge'", Some(true), Some(true)),
        ("labels.app == 'shop' or level == 'x'", Some(true), None),
        ("labels.app == 'shop' and level == 'x'", None, Some(false)),
        ("not (labels.app == 'shop' and level == 'x')", None, Some(true)),
        ("level == 'x'", None, None),
        ("message == 'x' or labels.app == 'none'", None, None),
    ];
    for (condition, in_shop, in_bank) in rows {
        let expr = Expr::compile(condition).unwrap();
        assert_eq!((expr.constant_for(&shop), expr.constant_for(&bank)), (in_shop, in_bank), "{condition}");
    }
}

#[test]
fn mistakes_are_named_at_their_place_with_what_would_be_right() {
    let rows = [
        ("level = 'x'", "=", "`==`"),
        ("level === 'x'", "===", "`==`"),
        ("level <> 'x'", "<>", "`!=`"),
        ("level => 5", "=>", "`>=`"),
        ("level ~ 'x'", "~", "`=~`"),
        ("level >> 5", ">>", "there are"),
        ("a == 1 && b == 2", "&&", "`and`"),
        ("a == 1 || b == 2", "||", "`or`"),
        ("!a == 1", "!", "`not`"),
        ("a == 1 AND b == 2", "AND", "lower case: `and`"),
        ("NOT a == 1", "NOT", "lower case: `not`"),
        ("a IN [1]", "IN", "lower case: `in`"),
        ("a == 1 b == 2", "b", "`and` or `or` is missing"),
        ("a == b == c", "b", "\"b\""),
        ("a == 1 == 2", "==", "one comparison at a time"),
        ("1 < a < 2", "1", "begins with a field"),
        ("a > 1 < 2", "<", "one comparison at a time"),
        ("level == error", "error", "\"error\""),
        ("debug", "debug", "alone is no condition"),
        ("debug and a == 1", "debug", "alone is no condition"),
        ("user.name", "user.name", "`exists user.name`"),
        ("level contains 'x'", "contains", "`contains(level, \"x\")`"),
        ("level like 'x'", "like", "`=~`"),
        ("level is 'x'", "is", "`==`"),
        ("'x' == level", "'x'", "begins with a field"),
        ("labels.a.b == 'x'", ".", "have no parts"),
        ("source.x == 'x'", ".", "`fields.source`"),
        ("label.app == 'x'", "label", "`labels`"),
        ("field.app == 'x'", "field", "`fields`"),
        ("labels == 'x'", "labels", "which label"),
        ("fields == 'x'", "fields", "which field"),
        ("labels. == 'x'", "==", "name is missing"),
        ("fields.== 'x'", "==", "name is missing"),
        ("a. == 'x'", "==", "name is missing"),
        ("a.0 == 'x'", "0", "`[0]`"),
        ("a[-1] == 'x'", "-1", "counted from 0"),
        ("a[b] == 'x'", "b", "in quotes"),
        ("a[0 == 'x'", "==", "`]` is missing"),
        ("labels.app == 5", "5", "\"5\" in quotes"),
        ("labels.app > 5", "5", "\"5\" in quotes"),
        ("message == null", "null", "\"null\" in quotes"),
        ("source in ['a', 1]", "1", "\"1\" in quotes"),
        ("a > '5'", "'5'", "without quotes: 5"),
        ("a > true", "true", "have an order"),
        ("a >= null", "null", "have an order"),
        ("a in 'x'", "'x'", "a list"),
        ("a in []", "]", "empty list"),
        ("a in ['x' 'y']", "'y'", "`,` or `]`"),
        ("a in ['x'", "", "`,` or `]`"),
        ("a not == 'x'", "a", "alone is no condition"),
        ("a =~ 5", "5", "in quotes"),
        ("a =~ '['", "'['", "not a regular expression: unclosed character class"),
        ("a =~ '(x'", "'(x'", "unclosed group"),
        ("a =~ '(?=x)'", "'(?=x)'", "look-around"),
        (r"a =~ '(\\w{500}){500}'", r"'(\\w{500}){500}'", "takes more than 1MiB"),
        ("contain(a, 'x')", "contain", "did you mean `contains`"),
        ("frob(a, 'x')", "frob", "unknown function"),
        ("contains(a)", ")", "takes two"),
        ("contains(a, 5)", "5", "in quotes"),
        ("contains(a, '')", "''", "empty text"),
        ("contains(a, 'x'", "", "`)` is missing"),
        ("exists message", "message", "every entry has"),
        ("exists", "", "ends where a field"),
        ("exists 'x'", "'x'", "begins with a field"),
        ("in == 1", "in", "`fields.in`"),
        ("a == 5x", "5x", "no number"),
        ("a == 01", "01", "no number"),
        ("a == 'x", "'x", "closing '"),
        ("`a == 'x'", "`a == 'x'", "backtick"),
        (r"a == 'x\q'", r"\q", "unknown escape"),
        (r"a == '\ud800'", r"\u", "four hexadecimal digits"),
        ("weird-key == 'x'", "weird-key", "backticks: `weird-key`"),
        ("@timestamp == 'x'", "@", "backticks"),
        ("(a == 1", "(", "never closed"),
        ("a == 1)", ")", "closes nothing"),
        ("(a == 1 b == 2)", "b", "missing before"),
        ("()", ")", "a field is expected"),
        ("and a == 1", "and", "where a field is expected"),
        ("", "", "ends where a field"),
        ("a == 1 and", "", "ends where a field"),
        ("a ==", "", "ends where a value"),
        ("a == [1]", "[", "a value is expected"),
        ("a == (b", "(", "never closed"),
    ];
    for (condition, part, hint) in rows {
        let error = Expr::compile(condition).expect_err(condition);
        assert_eq!(&condition[error.start..error.start + error.len], part, "{condition}: {error}");
        assert!(error.message.contains(hint), "{condition}: {error}");
    }
}

#[test]
fn long_and_deep_conditions_are_refused() {
    let deep = |depth: usize| format!("{}a == 1{}", "(".repeat(depth), ")".repeat(depth));
    assert!(Expr::compile(&deep(DEPTH_MAX - 1)).is_ok());
    assert!(Expr::compile(&deep(DEPTH_MAX)).unwrap_err().message.contains("64 levels"));
    assert!(Expr::compile(&"not ".repeat(1000)).unwrap_err().message.contains("64 levels"));
    assert!(Expr::compile(&" ".repeat(LEN_MAX + 1)).unwrap_err().message.contains("4096 bytes"));
}

#[test]
fn every_example_of_the_manual_is_true() {
    let page = include_str!("../../docs/language.md");
    let fenced = |kind: &str| {
        let open = format!("```{kind}\n");
        let parts: Vec<Vec<&str>> = page
            .split(&open)
            .skip(1)
            .map(|part| part.split("\n```").next().unwrap().lines().collect())
            .collect();
        parts
    };
    let examples = fenced("condition");
    assert!(examples.len() >= 25, "{}", examples.len());
    for example in examples {
        let [condition, entry, answer] = example[..] else { panic!("{example:?}") };
        let expr = Expr::compile(condition).unwrap_or_else(|error| panic!("{condition}: {error}"));
        assert_eq!(expr.matches(&block_of(&[entry], true), 0).to_string(), answer, "{condition} of {entry}");
    }
    let values = fenced("value");
    assert!(values.len() >= 15, "{}", values.len());
    for example in values {
        let [expression, entry, answer] = example[..] else { panic!("{example:?}") };
        let expr = ValueExpr::compile(expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
        let found = expr.find(&block_of(&[entry], true), 0, |kind, bytes| {
            let text = String::from_utf8_lossy(bytes);
            if kind == Kind::Plain { format!("{text:?}") } else { text.into_owned() }
        });
        let said = match found {
            Ok(found) => found.unwrap_or("nothing".into()),
            Err(Fault(what)) => format!("error: {what}"),
        };
        assert_eq!(said, answer, "{expression} of {entry}");
    }
    let refused = fenced("refused");
    assert!(refused.len() >= 5, "{}", refused.len());
    for example in refused {
        let [condition, why] = example[..] else { panic!("{example:?}") };
        let error = Expr::compile(condition).expect_err(condition);
        assert!(error.message.contains(why), "{condition}: {error}");
    }
}

/// A block of these lines, in runs of two, as a source and `parse: json` make it; unparsed if `parsed` is false.
fn block_of(lines: &[&str], parsed: bool) -> Block {
    let mut block = Block::new(lines.iter().map(|line| line.len() + 1).sum::<usize>().max(1 << 16));
    for lines in lines.chunks(2) {
        let labels = Labels::new(oracle_expr::LABELS);
        let stream = Stream::new(SourceId(0), oracle_expr::SOURCE.into(), "test", "o", labels);
        block.begin_run(&Arc::new(stream));
        for line in lines {
            let at = block.append(line.as_bytes()).unwrap();
            block.push(Entry::at(at, line.len() as u32));
            block.append(b"\n").unwrap();
        }
    }
    block.reset_side();
    if parsed {
        ParseJson::default().run_alone(&mut block, 0..lines.len());
    }
    block
}

/// What a judge says of all entries together, run by run.
fn judged(expr: &Expr, block: &Block) -> Vec<bool> {
    let (mut judge, mut met) = (expr.judge(block), vec![0_u64; block.entries().len().div_ceil(64)]);
    for run in block.runs() {
        for (word, met) in met.iter_mut().enumerate() {
            let bits = (0..64).filter(|at| (run.first..run.end).contains(&(word as u32 * 64 + at)));
            *met |= judge.word(block, word * 64, bits.fold(0, |bits, at| bits | 1 << at));
        }
    }
    (0..block.entries().len()).map(|at| met[at / 64] >> (at % 64) & 1 == 1).collect()
}

#[test]
fn entries_judged_together_are_judged_as_one_by_one() {
    let lines: Vec<String> =
        (0..300).map(|n| format!("{n} {}", ["", "needle", "need", "le needle"][n * 7 % 4])).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    for condition in [
        "contains(message, 'needle')",
        "contains(message, 'e\n1')",
        "not contains(message, 'needle')",
        "starts_with(message, '1') and contains(message, 'needle')",
        "contains(message, 'needle') or message == '7 le needle'",
        "message == '1 le needle'",
        "ends_with(message, 'need')",
        "contains(message, 'none')",
        "message =~ 'le$'",
    ] {
        let expr = Expr::compile(condition).unwrap();
        let mut block = block_of(&lines, false);
        for replaced in [false, true] {
            if replaced {
                block.replace_text(5, b"a needle put there").unwrap();
            }
            let one_by_one: Vec<bool> = (0..300).map(|at| expr.matches(&block, at)).collect();
            assert_eq!(judged(&expr, &block), one_by_one, "{condition}");
        }
    }
}

#[test]
fn a_pattern_that_makes_others_hang_is_matched_in_time_linear_in_the_text() {
    // Each of these takes a backtracking matcher longer than anyone waits.
    let text = "a".repeat(60_000) + "!";
    let block = block_of(&[&text], false);
    for pattern in
        ["^(a+)+$", "^(a|aa)+$", "^(a|a?)+$", "(.*a){12}b", "([a-zA-Z]+)*$", "^(([a-z])+.)+[A-Z]([a-z])+$"]
    {
        let expr = Expr::compile(&format!("message =~ '{pattern}'")).unwrap();
        assert_eq!(expr.matches(&block, 0), pattern == "([a-zA-Z]+)*$", "{pattern}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn compiled_conditions_judge_as_a_naive_interpreter(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut choices = Choices(&bytes);
        let cond: Cond = choices.cond(4);
        let entries: Vec<_> = (0..3).map(|_| choices.entry()).collect();
        let lines: Vec<&str> = entries.iter().map(|entry| &*entry.line).collect();
        let block = block_of(&lines, true);
        let text = cond.show(0);
        let expr = Expr::compile(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        for (at, entry) in entries.iter().enumerate() {
            let holds = cond.holds(entry);
            prop_assert_eq!(expr.matches(&block, at), holds, "{} of {}", &text, &entry.line);
            if let Some(constant) = expr.constant_for(block.stream_of(at)) {
                prop_assert_eq!(constant, holds, "{}", &text);
            }
        }
        let one_by_one: Vec<bool> = (0..3).map(|at| expr.matches(&block, at)).collect();
        prop_assert_eq!(judged(&expr, &block), one_by_one);
    }
}

proptest! {
    #[test]
    fn any_text_compiles_or_is_refused_at_a_place_within_it(
        text in "([a-c=!<>~()\\[\\],`'\"\\\\.5 -]|and|or|not|in |exists |contains|labels|fields|message|é|\\PC){0,20}",
    ) {
        if let Err(error) = Expr::compile(&text) {
            prop_assert!(text.get(error.start..error.start + error.len).is_some(), "{:?}", error);
        }
    }
}
