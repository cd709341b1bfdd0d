use super::*;
use crate::block::Block;
use crate::entry::{Entry, Field, Kind, unescape};
use crate::labels::{Labels, SourceId};
use proptest::prelude::*;
use std::sync::Arc;

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
        ("level > 5", ">", "only `==` and `!=`"),
        ("a == 1 && b == 2", "&&", "`and`"),
        ("a == 1 || b == 2", "||", "`or`"),
        ("!a == 1", "!", "`not`"),
        ("a == 1 AND b == 2", "AND", "lower case: `and`"),
        ("NOT a == 1", "NOT", "lower case: `not`"),
        ("a == 1 b == 2", "b", "`and` or `or` is missing"),
        ("a == b == c", "b", "\"b\""),
        ("a == 1 == 2", "==", "one comparison at a time"),
        ("level == error", "error", "\"error\""),
        ("debug", "debug", "alone is no condition"),
        ("debug and a == 1", "debug", "alone is no condition"),
        ("'x' == level", "'x'", "begins with a field"),
        ("user.name == 'x'", "user.name", "`user.name` stands in backticks"),
        ("labels.a.b == 'x'", "labels.a.b", "cannot be reached"),
        ("source.x == 'x'", "source.x", "cannot be reached"),
        ("label.app == 'x'", "label", "`labels`"),
        ("labels == 'x'", "labels", "which label"),
        ("labels. == 'x'", "==", "name is missing"),
        ("labels.app == 5", "5", "\"5\" in quotes"),
        ("message == null", "null", "\"null\" in quotes"),
        ("a == 5x", "5x", "no number"),
        ("a == 1e999", "1e999", "no number"),
        ("a == 'x", "'x", "closing '"),
        ("`a == 'x'", "`a == 'x'", "backtick"),
        (r"a == 'x\q'", r"\q", "unknown escape"),
        (r"a == '\ud800'", r"\u", "four hexadecimal digits"),
        ("weird-key == 'x'", "weird", "alone is no condition"),
        ("@timestamp == 'x'", "@", "backticks"),
        ("(a == 1", "(", "never closed"),
        ("a == 1)", ")", "closes nothing"),
        ("(a == 1 b == 2)", "b", "missing before"),
        ("()", ")", "a field is expected"),
        ("and a == 1", "and", "where a field is expected"),
        ("", "", "ends where a field"),
        ("a == 1 and", "", "ends where a field"),
        ("a ==", "", "ends where a value"),
        ("a == (1)", "(", "a value is expected"),
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

/// A condition as plainly as can be, to compare the compiled one with.
#[derive(Clone, Debug)]
enum Naive {
    Any(Vec<Naive>),
    All(Vec<Naive>),
    Not(Box<Naive>),
    Test(&'static str, bool, &'static str),
}

impl Naive {
    /// As it is written, in parentheses where it binds less than `level`.
    fn show(&self, level: u8) -> String {
        let (own, text) = match self {
            Naive::Any(nodes) => (0, nodes.iter().map(|node| node.show(1)).collect::<Vec<_>>().join(" or ")),
            Naive::All(nodes) => (1, nodes.iter().map(|node| node.show(2)).collect::<Vec<_>>().join(" and ")),
            Naive::Not(node) => (2, format!("not {}", node.show(2))),
            Naive::Test(name, equal, value) => {
                (2, format!("{name} {} {value}", if *equal { "==" } else { "!=" }))
            }
        };
        if own < level { format!("({text})") } else { text }
    }

    fn holds(&self, members: &[Member]) -> bool {
        match self {
            Naive::Any(nodes) => nodes.iter().filter(|node| node.holds(members)).count() > 0,
            Naive::All(nodes) => nodes.iter().filter(|node| !node.holds(members)).count() == 0,
            Naive::Not(node) => !node.holds(members),
            Naive::Test(name, equal, value) => Naive::equals(name, value, members) == *equal,
        }
    }

    fn equals(name: &str, value: &str, members: &[Member]) -> bool {
        let text = value.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
        match name {
            "labels.app" => return text == Some("shop"),
            "labels.none" => return false,
            "message" => return text == Some("hello"),
            _ => {}
        }
        let named = |(key, _, _): &&Member| unescape(key.as_bytes()).unwrap() == name.as_bytes();
        let Some((_, raw, kind)) = members.iter().rev().find(named) else {
            return false;
        };
        let reads =
            if *kind == Kind::Escaped { unescape(raw.as_bytes()).unwrap() } else { raw.as_bytes().to_vec() };
        match (text, value) {
            (Some(text), _) => reads == text.as_bytes(),
            (_, "true" | "false") => *kind == Kind::Bool && *raw == value,
            (_, "null") => *kind == Kind::Null,
            (_, number) => *kind == Kind::Number && raw.parse::<f64>() == number.parse::<f64>(),
        }
    }
}

fn naive() -> impl Strategy<Value = Naive> {
    let names = vec!["a", "b", "c", "labels.app", "labels.none", "message"];
    let texts = vec!["'shop'", "'hello'", "'1'", "'x'", "'true'"];
    let others = vec!["1", "1.0", "-2e0", "true", "false", "null"];
    let test = (
        prop::sample::select(names),
        any::<bool>(),
        prop::sample::select(texts),
        prop::sample::select(others),
    );
    let leaf = (test, any::<bool>()).prop_map(|((name, equal, text, other), is_text)| {
        Naive::Test(name, equal, if is_text || name.len() > 1 { text } else { other })
    });
    leaf.prop_recursive(5, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(Naive::Any),
            prop::collection::vec(inner.clone(), 1..4).prop_map(Naive::All),
            inner.prop_map(|node| Naive::Not(Box::new(node))),
        ]
    })
}

fn members() -> impl Strategy<Value = Vec<Member>> {
    let keys = vec!["a", "b", "c", "\\u0061", "other"];
    let values = vec![
        ("x", Kind::Plain),
        ("1", Kind::Plain),
        ("\\u0078", Kind::Escaped),
        ("1", Kind::Number),
        ("1e0", Kind::Number),
        ("-2", Kind::Number),
        ("true", Kind::Bool),
        ("false", Kind::Bool),
        ("null", Kind::Null),
    ];
    let member = (prop::sample::select(keys), prop::sample::select(values));
    prop::collection::vec(member, 0..5).prop_map(|list| {
        // `set_field` replaces a field with the very same key, as the naive walk from behind sees it.
        let mut unique: Vec<Member> = Vec::new();
        for (key, (raw, kind)) in list {
            match unique.iter_mut().find(|known| known.0 == key && !key.contains('\\')) {
                Some(known) => *known = (key, raw, kind),
                None => unique.push((key, raw, kind)),
            }
        }
        unique
    })
}

proptest! {
    #[test]
    fn compiled_conditions_judge_as_a_naive_interpreter(naive in naive(), members in members()) {
        let text = naive.show(0);
        prop_assert_eq!(holds(&text, &members), naive.holds(&members), "{}", text);
    }

    #[test]
    fn any_text_compiles_or_is_refused_at_a_place_within_it(
        text in "([a-c=!()`'\"\\\\.5 -]|and|or|not|labels|é|\\PC){0,20}",
    ) {
        if let Err(error) = Expr::compile(&text) {
            prop_assert!(text.get(error.start..error.start + error.len).is_some(), "{:?}", error);
        }
    }
}
