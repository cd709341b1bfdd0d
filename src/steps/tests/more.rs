//! `set` with expressions, `route`, `sample`, `validate`, `enrich`, and looking ahead.

use super::*;
use crate::expr::ValueExpr;
use crate::steps::OnError;
use crate::steps::Step;
use crate::steps::config::{SampleConfig, ValidateConfig};
use crate::steps::enrich::{Shape, TableFile};
use crate::steps::route::Route;
use crate::steps::set::Given;
use crate::steps::validate::Validate;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn value(text: &str) -> ValueExpr {
    ValueExpr::compile(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn expr(text: &str) -> Expr {
    Expr::compile(text).unwrap()
}

fn json() -> StepSpec {
    StepSpec::ParseJson(Input::Message)
}

/// What the entry has under this name.
fn field(block: &Block, index: usize, name: &str) -> Option<String> {
    let field = block.view(index).field(name.as_bytes())?;
    Some(String::from_utf8_lossy(&field.text()).into_owned())
}

fn of_lines(lines: &[&str]) -> Block {
    block_of(&[("shop", lines)])
}

#[test]
fn set_works_values_out_one_after_the_other_and_names_the_one_it_cannot() {
    let fields = [
        ("a", "= took / 1000"),
        ("b", "= a + 1"),
        ("none", "= missing"),
        ("key", "= lower(host) + ':' + port"),
        ("c", "= number(host)"),
        ("after", "= 'still set'"),
    ];
    let fields = fields.map(|(name, text)| (name.to_owned(), Given::Made(value(&text[1..]))));
    let pipeline =
        Pipeline::compile(vec![json().into(), StepSpec::Set(fields.into()).on_error(OnError::DeadLetter)])
            .unwrap();
    let mut block =
        of_lines(&[r#"{"took":1500,"host":"Web","port":80,"none":1}"#, r#"{"took":1,"host":"7"}"#]);
    let outcome = pipeline.run_guarded(&mut block);
    let all = ["a", "b", "none", "key", "c", "after"];
    let of = |index| all.map(|name| field(&block, index, name).unwrap_or("-".into()));
    assert_eq!(of(0), ["1.5", "2.5", "1", "web:80", "-", "still set"]);
    assert_eq!(of(1), ["0.001", "1.001", "-", "-", "7", "still set"]);
    assert_eq!((outcome.errors, live(&block)), (1, vec![1]));
    let why = "step 2 (set): `c`: a number is needed where there is none";
    assert_eq!(block.refused()[0].why.as_ref(), why);
    let view = pipeline.views().nth(1).unwrap();
    assert_eq!(view.last_error.as_deref(), Some("`c`: a number is needed where there is none"));
}

#[test]
fn the_first_route_whose_condition_holds_is_the_entry_s() {
    let routes = || vec![("errors".into(), expr("level == 'error'")), ("slow".into(), expr("took > 5"))];
    let lines = [r#"{"level":"error","took":9}"#, r#"{"took":9}"#, r#"{"took":1,"route":"own"}"#, "no json"];
    for (rest, last) in [(Some("rest"), ["rest", "rest"]), (None, ["own", "-"])] {
        let spec = StepSpec::Route(routes(), rest.map(str::to_owned));
        let mut block = of_lines(&lines);
        Pipeline::compile(vec![json(), spec]).unwrap().run_guarded(&mut block);
        let of: Vec<_> = (0..4).map(|at| field(&block, at, "route").unwrap_or("-".into())).collect();
        assert_eq!(of, ["errors", "slow", last[0], last[1]]);
    }
    let mut constants = crate::steps::constants::Constants::default();
    assert_eq!(Route::new(routes(), None, &mut constants).unwrap().adds_fields(), 1);
}

fn sampled(config: &SampleConfig, key: Option<&str>, except: Option<&str>, lines: &[&str]) -> Block {
    let spec = StepSpec::Sample(config.clone(), key.map(value), except.map(expr));
    let mut block = of_lines(lines);
    block.stamp(1);
    Pipeline::compile(vec![json(), spec]).unwrap().run_guarded(&mut block);
    block
}

#[test]
fn a_share_goes_through_equal_keys_together_and_exceptions_always() {
    let lines: Vec<String> =
        (0..2000).map(|n| format!("{{\"user\":\"u{}\",\"n\":{n},\"e\":{}}}", n % 200, n % 50 == 0)).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let tenth = SampleConfig::from(0.1);
    // By itself: about one in ten, and each entry on its own.
    let block = sampled(&tenth, None, None, &lines);
    let kept = live(&block).len();
    assert!((120..290).contains(&kept), "{kept} of 2000");
    // By key: users go through whole or not at all, and the same ones each time.
    let users = |block: &Block| {
        let mut users = BTreeMap::new();
        live(block).iter().for_each(|at| *users.entry(at % 200).or_insert(0) += 1);
        users
    };
    let (one, two) =
        (sampled(&tenth, Some("user"), None, &lines), sampled(&tenth, Some("user"), None, &lines));
    let (one, two) = (users(&one), users(&two));
    assert!(one == two && one.values().all(|count| *count == 10) && (5..45).contains(&one.len()), "{one:?}");
    // Exceptions, and the weight of each.
    let config = SampleConfig { weight: Some("weight".into()), ..tenth };
    let block = sampled(&config, Some("user"), Some("e == true"), &lines);
    let weights = |index: usize| field(&block, index, "weight").unwrap();
    assert!((0..2000).step_by(50).all(|at| live(&block).contains(&at) && weights(at) == "1"));
    assert!(live(&block).iter().filter(|at| **at % 50 != 0).all(|at| weights(*at) == "10"));
    // All or, nearly, nothing.
    assert_eq!(live(&sampled(&SampleConfig::from(1.0), None, None, &lines)).len(), 2000);
    assert_eq!(live(&sampled(&SampleConfig::from(1e-12), Some("n"), None, &lines)).len(), 0);
}

#[test]
fn a_rule_that_is_broken_is_named_with_its_field() {
    let config = "{ fields: { \
        status: { required: true, type: integer, min: 100, max: 599 }, \
        level: { values: [debug, 'say \"x\"', 5, true] }, \
        user: { type: text, pattern: '^[a-z]+$', min_length: 2, max_length: 4 }, \
        user.id: { type: number }, message: { max_length: 60 }, ip: { type: ip } } }";
    let config: ValidateConfig = serde_yaml::from_str(config).unwrap();
    assert_eq!(config.on_error, OnError::DeadLetter);
    let rows = [
        (r#"{"status":200,"level":"debug","user":"ann"}"#, ""),
        (r#"{"status":200.0,"level":"say \"x\""}"#, ""),
        (r#"{"status":2e2,"level":5.0}"#, ""),
        (r#"{"status":100,"level":true}"#, ""),
        (r#"{}"#, "`status` is missing"),
        (r#"{"status":"200"}"#, "`status` is of another type (not integer)"),
        (r#"{"status":200.5}"#, "`status` is of another type (not integer)"),
        (r#"{"status":99}"#, "`status` is below its `min` (100)"),
        (r#"{"status":600}"#, "`status` is above its `max` (599)"),
        (
            r#"{"status":200,"level":"info"}"#,
            r#"`level` is none of its `values` ("debug", "say \"x\"", 5, true)"#,
        ),
        (r#"{"status":200,"user":"Ann"}"#, "`user` does not match its `pattern` (^[a-z]+$)"),
        (r#"{"status":200,"user":"a"}"#, "`user` is shorter than its `min_length` (2)"),
        (r#"{"status":200,"user":"annabel"}"#, "`user` is longer than its `max_length` (4)"),
        (r#"{"status":200,"user":{"id":"x"}}"#, "`user` is of another type (not text)"),
        (r#"{"status":200,"ip":"10.0.0"}"#, "`ip` is of another type (not ip)"),
        (
            r#"{"status":200,"filler":"0123456789012345678901234567890123456789"}"#,
            "`message` is longer than its `max_length` (60)",
        ),
    ];
    for (line, expected) in rows {
        let step = Validate::new(&config).unwrap();
        let mut block = of_lines(&[line]);
        Pipeline::compile(vec![json()]).unwrap().run_guarded(&mut block);
        let said = match step.apply(&mut block, 0) {
            Ok(_) => String::new(),
            Err(error) => step.explain(error),
        };
        assert_eq!(said, expected, "{line}");
    }
    let wrong = "{ fields: { 'a b': { required: true } } }";
    let wrong: ValidateConfig = serde_yaml::from_str(wrong).unwrap();
    let (field, error) = Validate::new(&wrong).unwrap_err();
    assert_eq!((field.as_str(), error.start), ("a b", 2), "{error}");
}

fn shape(by: &str, columns: &[&str]) -> Shape {
    Shape {
        by: serde_yaml::from_str(by).unwrap(),
        key: "key".into(),
        columns: columns.iter().map(|name| (*name).to_owned()).collect(),
    }
}

fn enriched(table: &Arc<TableFile>, key: &str, lines: &[&str]) -> (Vec<Vec<String>>, usize) {
    let names = vec!["team".to_owned(), "cost".to_owned()];
    let spec = StepSpec::Enrich(Arc::clone(table), value(key), names);
    let mut block = of_lines(lines);
    let errors = Pipeline::compile(vec![json(), spec]).unwrap().run_guarded(&mut block).errors;
    (lines.iter().enumerate().map(|(at, _)| shown(&block, at)[1..].to_vec()).collect(), errors)
}

#[test]
fn a_table_is_looked_up_exactly_or_by_network_and_taken_up_again_when_it_changes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.csv");
    let csv = "\u{feff}key,team,cost\r\n\r\nshop,\"a \"\"b\"\", c\",1.5\nbank,,7\n\"x\ny\",z,\n";
    std::fs::write(&path, csv).unwrap();
    let exact = shape("exact", &["team", "cost"]);
    let table = TableFile::load(path.clone(), exact.clone(), "step 1".into()).unwrap();
    let lines = [r#"{"k":"shop"}"#, r#"{"k":"bank"}"#, r#"{"k":"x\ny"}"#, r#"{"k":"none"}"#, r#"{"j":1}"#];
    let (rows, errors) = enriched(&table, "k", &lines);
    assert_eq!(rows[0], ["team=a \"b\", c:Plain", "cost=1.5:Number"]);
    assert_eq!(
        (rows[1].as_slice(), rows[2].as_slice()),
        (&["cost=7:Number".to_owned()][..], &["team=z:Plain".to_owned()][..])
    );
    assert_eq!((rows[3].len() + rows[4].len(), errors), (0, 2));

    // A bad file is refused as a whole, and the one before stays; a good one is taken up.
    for bad in [
        "key,team\nshop,x\n",
        "key,team,cost\nshop,x\n",
        "key,team,cost\na,b,c\na,b,c\n",
        "",
        "key,team,cost\na,\"b,c\n",
    ] {
        std::fs::write(&path, bad).unwrap();
        table.refresh();
        assert_eq!(enriched(&table, "k", &lines).0, rows, "{bad:?}");
        let error = TableFile::load(path.clone(), exact.clone(), String::new()).unwrap_err();
        assert!(error.contains("line") || error.contains("column `cost`"), "{error}");
    }
    std::fs::write(&path, "cost,key,team\n9,shop,new\n").unwrap();
    table.refresh();
    let (rows, errors) = enriched(&table, "k", &lines);
    assert_eq!(
        (rows[0].as_slice(), errors),
        (&["team=new:Plain".to_owned(), "cost=9:Number".to_owned()][..], 4)
    );
    std::fs::remove_file(&path).unwrap();
    table.refresh();
    assert_eq!(enriched(&table, "k", &lines).1, 4, "a file that is gone changes nothing");

    let path = dir.path().join("t.json");
    let json = r#"[{"key":"10.0.0.0/8","team":"all"},{"key":"10.1.0.0/16","team":"one","cost":{"a":1}},
        {"key":"2001:db8::/32","team":"six","cost":true},{"key":"10.1.2.3","team":"host","cost":null}]"#;
    std::fs::write(&path, json).unwrap();
    let table = TableFile::load(path, shape("cidr", &["team", "cost"]), "step 1".into()).unwrap();
    let lines = [
        r#"{"k":"10.9.9.9"}"#,
        r#"{"k":"10.1.9.9"}"#,
        r#"{"k":"10.1.2.3"}"#,
        r#"{"k":"2001:db8::1"}"#,
        r#"{"k":"9.9.9.9"}"#,
        r#"{"k":"x"}"#,
    ];
    let (rows, errors) = enriched(&table, "k", &lines);
    let team = |at: usize| rows[at].first().cloned().unwrap_or_default();
    let teams: Vec<String> = (0..6).map(team).collect();
    assert_eq!(teams, ["team=all:Plain", "team=one:Plain", "team=host:Plain", "team=six:Plain", "", ""]);
    assert_eq!(
        (rows[1][1].as_str(), rows[3][1].as_str(), errors),
        ("cost={\"a\":1}:Json", "cost=true:Bool", 2)
    );
    let bad = dir.path().join("bad.json");
    std::fs::write(&bad, r#"[{"key":"10.0.0.1/8"}]"#).unwrap();
    let error = TableFile::load(bad, shape("cidr", &["team"]), String::new()).unwrap_err();
    assert!(error.contains("object 1: `10.0.0.1/8` has bits behind its mask"), "{error}");
}

/// What is left of the lines, and the fields each has, by a pipeline of `parse: json` and `keep`; whether somebody looks
/// on decides whether `parse` may look ahead.
fn kept(
    condition: &str,
    on_error: OnError,
    lines: &[String],
    watched: bool,
) -> (Vec<usize>, Vec<Vec<String>>) {
    let specs = vec![json().on_error(on_error), StepSpec::Keep(expr(condition)).into()];
    let pipeline = Pipeline::compile(specs).unwrap();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let (some, rest) = lines.split_at(lines.len() / 3);
    let mut block = block_of(&[("shop", some), ("bank", rest)]);
    match watched {
        true => pipeline.run_watched(&mut block, &mut |_, _| ()),
        false => pipeline.run_guarded(&mut block),
    };
    let left = live(&block);
    let fields = left.iter().map(|at| shown(&block, *at)).collect();
    (left, fields)
}

#[test]
fn what_keep_will_take_out_is_not_parsed_and_counts_where_it_did() {
    let lines: Vec<String> = (0..200)
        .map(|n| format!("{{\"level\":\"{}\",\"n\":{n}}}", if n % 9 == 0 { "error" } else { "info" }))
        .collect();
    let specs = vec![json(), StepSpec::Keep(expr("level == 'error'"))];
    let pipeline = Pipeline::compile(specs).unwrap();
    let lines: Vec<&str> = lines.iter().map(String::as_str).chain(["no json", "error, no json"]).collect();
    let mut block = of_lines(&lines);
    let outcome = pipeline.run_guarded(&mut block);
    assert_eq!(live(&block), (0..200).step_by(9).collect::<Vec<_>>());
    assert!(shown(&block, 1).is_empty() && shown(&block, 9).len() == 2, "only what may stay was parsed");
    assert_eq!(outcome.errors, 2, "what is no object is an error all the same");
    let views: Vec<_> = pipeline.views().map(|view| (view.entries, view.discarded)).collect();
    assert_eq!(views, [(202, 0), (202, 179)]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]
    #[test]
    fn looking_ahead_changes_no_entry_s_fate(
        lines in prop::collection::vec(
            prop::sample::select(vec![
                r#"{"level":"error"}"#, r#"{"level":"info","m":"error"}"#, r#"{"l\u0065vel":"err\u006fr"}"#,
                r#"{"level":"error","level":"info"}"#, r#"{"level":"info","level":"error"}"#, "error", "", "{",
                r#" {"level":"error"} "#, r#"{"level":"error""#, r#"{"level":"error"]}"#, r#"{"level":"info"}"#,
                r#"{"level":true,"a":{"b":"x"}}"#, r#"{"a":{"b":"warn"},"level":null}"#, r#"{"level":"warn error"}"#,
                r#"{"level":["error"]}"#, r#"{"level":"ERROR"}"#, "{}", r#"{"message":"{\"level\":\"error\"}"}"#,
            ]),
            1..150,
        ),
        which in 0..9_usize,
        discards: bool,
    ) {
        let condition = [
            "level == 'error'", "level in ['error', 'warn']", "level == 'error' or a.b == 'warn'",
            "contains(level, 'arn') and level != 'x'", "level == true", "level == null or starts_with(level, 'err')",
            "level == 'error' and labels.app == 'bank'", "level != 'error'", "fields.message =~ 'error'",
        ][which];
        let lines: Vec<String> = lines.into_iter().map(str::to_owned).collect();
        let on_error = if discards { OnError::Discard } else { OnError::Pass };
        prop_assert_eq!(kept(condition, on_error, &lines, false), kept(condition, on_error, &lines, true));
    }
}
