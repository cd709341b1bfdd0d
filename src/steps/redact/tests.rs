use super::*;
use crate::block::Block;
use crate::expr::Expr;
use crate::sinks::format::{Encoder, Format};
use crate::sinks::testing::{add_field, block_of, stream};
use crate::steps::OnError;
use crate::steps::parse::input::Input;
use crate::steps::parse::json::ParseJson;
use crate::steps::pipeline::{Pipeline, StepSpec};
use crate::steps::set::{ConstValue, Given};
use proptest::prelude::*;

fn config(patterns: &[BuiltIn], regex: &[&str], fields: Option<&[&str]>) -> RedactConfig {
    RedactConfig {
        patterns: patterns.to_vec(),
        regex: regex.iter().map(|text| (*text).into()).collect(),
        fields: fields.map(|all| all.iter().map(|name| (*name).into()).collect()),
        ..RedactConfig::default()
    }
}

fn redact(config: &RedactConfig, block: &mut Block) {
    let entries = block.entries().len();
    assert_eq!(Redact::new(config).unwrap().run_alone(block, 0..entries), 0);
}

/// What becomes of a text.
fn said(config: &RedactConfig, text: &str) -> String {
    let mut block = block_of(&stream("s", "o", &[]), &[text]);
    redact(config, &mut block);
    String::from_utf8(block.view(0).text().to_vec()).unwrap()
}

const ALL: [BuiltIn; 4] = [BuiltIn::Email, BuiltIn::Ipv4, BuiltIn::CreditCard, BuiltIn::Secret];

#[test]
fn what_was_redacted_is_gone_from_every_format_from_conditions_and_from_copies() {
    let line = r#"{"user":"ann@example.org","u2":"ann\u0040example.org","card":4111111111111111,"in":{"ip":["10.0.0.1"],"token":[1]},"password":"hunter2","ok":true}"#;
    let secrets = ["ann", "4111", "10.0.0", "hunter2", "[1]"];
    for parse_first in [true, false] {
        let stream = stream("s", "o", &[]);
        let mut block = block_of(&stream, &[line, "nothing here", "from 10.0.0.2"]);
        let redact = StepSpec::Custom(Box::new(Redact::new(&config(&ALL, &[], None)).unwrap()));
        let (one, two) = match parse_first {
            true => (StepSpec::ParseJson(Input::Message), redact),
            false => (redact, StepSpec::ParseJson(Input::Message)),
        };
        let pipeline = Pipeline::compile(vec![one, two]).unwrap();
        assert_eq!(pipeline.run_guarded(&mut block).errors, 2, "two lines are no JSON");
        block.open_selections(0, 1);

        for format in Format::ALL {
            let mut out = Vec::new();
            Encoder::new(format).encode(&block, &stream, 0..3, &mut out);
            let out = String::from_utf8(out).unwrap();
            assert!(out.contains("[redacted]") && out.contains("nothing here"), "{out}");
            assert!(!secrets.iter().any(|secret| out.contains(secret)), "{parse_first} {format:?}: {out}");
        }
        let mut copy = Block::new(4096);
        copy.begin_run(&stream);
        assert!(copy.copy_entry(&block, 0));
        for block in [&block, &copy] {
            let holds = |condition: &str| Expr::compile(condition).unwrap().matches(block, 0);
            for secret in secrets {
                assert!(!holds(&format!("contains(message, '{secret}')")), "{secret}");
            }
            assert!(holds(
                "user == '[redacted]' and u2 == '[redacted]' and card == '[redacted]' and ok == true"
            ));
            assert!(holds(
                "fields.in.ip[0] == '[redacted]' and fields.in.token == '[redacted]' and password == '[redacted]'"
            ));
            assert_eq!(block.view(0).message(), block.view(0).text());
        }
        assert!(!copy.text().windows(3).any(|window| window == b"ann"));
        assert!(serde_json::from_slice::<serde_json::Value>(block.view(0).text()).is_ok());
        assert_eq!(block.view(2).text(), b"from [redacted]");
        assert!(!block.is_replaced(1), "where nothing is found, nothing is copied");
    }
}

#[test]
fn patterns_of_ones_own_replace_their_match_or_their_first_group() {
    assert_eq!(said(&config(&[], &[r"E-\d+"], None), "id E-12, E-345"), "id [redacted], [redacted]");
    assert_eq!(said(&config(&[], &[r"id=(\w+)"], None), "id=ab id=cd"), "id=[redacted] id=[redacted]");
    // In JSON inside of its strings, and across them as the text is written.
    assert_eq!(
        said(&config(&[], &["^ab$"], None), r#"{"x":"ab","y":"abc"}"#),
        r#"{"x":"[redacted]","y":"abc"}"#
    );
    assert_eq!(
        said(&config(&[], &[r#""ssn":"(\d+)""#], None), r#"{"ssn":"123"}"#),
        r#"{"ssn":"[redacted]"}"#
    );
    let named = RedactConfig { replacement: "<{name}>".into(), ..config(&ALL, &["x+"], None) };
    assert_eq!(said(&named, "a@b.org xx 1.2.3.4 pwd=1"), "<email> <regex> <ipv4> pwd=<secret>");
    // What two find is replaced once.
    assert_eq!(said(&config(&ALL, &["b.*"], None), "a@b.org then"), "[redacted]");
    let error = Redact::new(&config(&[], &["(x"], None)).unwrap_err();
    assert!(error.contains("`(x`") && error.contains("unclosed group"), "{error}");
}

#[test]
fn only_the_places_that_were_named_are_looked_at() {
    let line = "ann@b.org";
    for (fields, text, user, message) in [
        (None, false, false, false),
        (Some(&["user"][..]), true, false, true),
        (Some(&["message"]), false, true, false),
        (Some(&["other"]), true, true, true),
    ] {
        let mut block = block_of(&stream("s", "o", &[]), &[line]);
        add_field(&mut block, 0, b"user", line.as_bytes(), Kind::Plain);
        add_field(&mut block, 0, b"message", br"ann\u0040b.org \n", Kind::Escaped);
        redact(&config(&[BuiltIn::Email], &[], fields), &mut block);
        let view = block.view(0);
        let has = |text: &[u8]| text.windows(3).any(|window| window == b"ann");
        let field = |name: &[u8]| has(&view.field(name).unwrap().text());
        assert_eq!(
            (has(view.text()), field(b"user"), field(b"message")),
            (text, user, message),
            "{fields:?}"
        );
        if !message {
            assert_eq!(view.message(), &b"[redacted] \n"[..]);
        }
    }
}

#[test]
fn what_the_config_sets_is_redacted_like_anything_else() {
    let constant = |name: &str, text: &str| (name.to_owned(), Given::from(ConstValue::Text(text.into())));
    let mut block = block_of(&stream("s", "o", &[]), &[r#"{"old":"some"}"#]);
    let steps = vec![
        StepSpec::ParseJson(Input::Message),
        StepSpec::Set(vec![constant("owner", "ann@b.org"), constant("env", "prod"), constant("pwd", "x")]),
        StepSpec::Rename(vec![("old".into(), "api_token".into())]),
        StepSpec::Custom(Box::new(Redact::new(&config(&ALL, &[], None)).unwrap())),
    ];
    assert_eq!(Pipeline::compile(steps).unwrap().run_guarded(&mut block).errors, 0);
    let view = block.view(0);
    let fields = ["owner", "env", "pwd", "api_token"].map(|name| view.field(name.as_bytes()).unwrap().text());
    let said = fields.map(|text| String::from_utf8(text.into_owned()).unwrap());
    assert_eq!(said, ["[redacted]", "prod", "[redacted]", "[redacted]"]);
}

#[test]
fn an_entry_whose_redacted_text_has_no_room_is_taken_out_unless_told_otherwise() {
    assert_eq!(RedactConfig::default().on_error, OnError::Discard);
    let long =
        RedactConfig { replacement: "x".repeat(ARENA_MAX + 1), ..config(&[BuiltIn::Email], &[], None) };
    for (on_error, left) in [(OnError::Discard, 1), (OnError::Pass, 2)] {
        let step = StepSpec::Custom(Box::new(Redact::new(&long).unwrap())).on_error(on_error);
        let mut block = block_of(&stream("s", "o", &[]), &["a@b.org", "x"]);
        assert_eq!(Pipeline::compile(vec![step]).unwrap().run_guarded(&mut block).errors, 1);
        assert_eq!(crate::block::count_selected(block.selection(0), 0..2), left);
    }
}

proptest! {
    #[test]
    fn what_was_json_stays_json_and_keeps_what_was_not_found(
        members in prop::collection::vec(("[a-c\"\\\\é]{1,3}|token", "([a-z]{0,3}|@|\\.|x@y\\.zz|10\\.0\\.0\\.1|[\"\\\\\\n]|é){0,6}"), 0..6), number in any::<i64>(),
    ) {
        let object: serde_json::Map<_, _> = members.into_iter().map(|(name, text)| (name, text.into())).collect();
        let tree = serde_json::json!({ "list": [object, number, null, true] });
        let text = said(&config(&ALL, &[], None), &tree.to_string());
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        for (name, value) in read["list"][0].as_object().unwrap() {
            let (old, new) = (tree["list"][0].get(name).and_then(|old| old.as_str()), value.as_str().unwrap());
            prop_assert!(old == Some(new) || new.contains("[redacted]"), "{}: {:?} {}", name, old, new);
            prop_assert!(!new.contains("x@y.zz"));
        }
    }

    #[test]
    fn any_text_is_redacted_without_harm(text in "[{}\\[\\]\",:\\\\@.a-c0-9 ]{0,40}") {
        let mut block = block_of(&stream("s", "o", &[]), &[&text]);
        ParseJson::default().run_alone(&mut block, 0..1);
        redact(&config(&ALL, &["a.c"], None), &mut block);
        prop_assert!(!block.view(0).text().windows(3).any(|window| window[0] == b'a' && window[2] == b'c'), "{}", text);
    }
}
