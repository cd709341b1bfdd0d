//! What entries come to as numbers.

use super::config::MetricConfig;
use super::*;
use crate::entry::Entry;
use crate::labels::{Labels, SourceId, Stream};
use crate::steps::OnError;
use crate::steps::ordered::config::DedupeConfig;
use crate::steps::parse::input::Input;
use crate::steps::pipeline::{Pipeline, Planned, StepSpec};

fn config(yaml: &str) -> MetricConfig {
    serde_yaml::from_str(yaml).unwrap_or_else(|error| panic!("{yaml}: {error}"))
}

fn metric(yaml: &str) -> Arc<Metric> {
    let config = config(yaml);
    assert_eq!(config.misfit(), None, "{yaml}");
    Arc::new(Metric::new(&config).unwrap_or_else(|_| panic!("{yaml}")))
}

/// Sends JSON lines through `steps` behind a `parse`, as one block; gives how many entries are left.
fn run(steps: Vec<Planned>, texts: &[&str]) -> usize {
    let parse = Planned::from(StepSpec::ParseJson(Input::Message));
    let pipeline = Pipeline::compile(Some(parse).into_iter().chain(steps).collect::<Vec<_>>()).unwrap();
    let mut block = Block::new(64 << 10);
    let labels = Labels::new([("app", "shop")]);
    block.begin_run(&Arc::new(Stream::new(SourceId(0), "in".into(), "test", "o", labels)));
    for text in texts {
        let offset = block.append(text.as_bytes()).unwrap();
        block.push(Entry::at(offset, text.len() as u32));
    }
    pipeline.run_guarded(&mut block);
    let decided = pipeline.decide(&block, 0);
    crate::block::count_selected(block.selection(0), 0..texts.len()) - decided.taken as usize
}

fn planned(metric: &Arc<Metric>) -> Planned {
    StepSpec::Ordered(Arc::clone(metric) as Arc<dyn Ordered>).into()
}

/// Labels, count, value and buckets of each series.
fn numbers(metric: &Metric) -> Vec<(String, u64, f64, Vec<u64>)> {
    let series = metric.numbers().series.into_iter();
    series.map(|series| (series.labels.join(","), series.count, series.value, series.buckets)).collect()
}

#[test]
fn a_counter_counts_entries_or_the_sum_of_their_values() {
    let texts = [r#"{"n":2,"l":"a"}"#, r#"{"n":3.5,"l":"b"}"#, r#"{"n":"4","l":"a"}"#];
    let (entries, sum) = (
        metric("{ name: x, type: counter, labels: { level: l, app: labels.app } }"),
        metric("{ name: x, type: counter, value: n }"),
    );
    assert_eq!(run(vec![planned(&entries), planned(&sum)], &texts), 3);
    let none = Vec::new();
    assert_eq!(
        numbers(&entries),
        [("a,shop".into(), 2, 2.0, none.clone()), ("b,shop".into(), 1, 1.0, none.clone())]
    );
    assert_eq!(numbers(&sum), [(String::new(), 3, 9.5, none)]);
}

#[test]
fn a_gauge_has_the_value_of_the_last_and_a_histogram_counts_up_to_its_bounds() {
    let texts = [r#"{"n":0.1}"#, r#"{"n":1}"#, r#"{"n":1.001}"#, r#"{"n":50}"#];
    let gauge = metric("{ name: x, type: gauge, value: n }");
    let histogram = metric("{ name: y, type: histogram, value: n, buckets: [0.1, 1, 10] }");
    run(vec![planned(&gauge), planned(&histogram)], &texts);
    assert_eq!(numbers(&gauge), [(String::new(), 4, 50.0, vec![])]);
    let [(_, count, sum, buckets)] = &numbers(&histogram)[..] else { panic!("one series") };
    assert_eq!((*count, buckets), (4, &vec![1, 1, 1, 1]));
    assert!((sum - 52.101).abs() < 1e-9);
}

#[test]
fn an_entry_without_a_number_is_an_error_and_counts_nothing() {
    let texts = [r#"{"n":1}"#, r#"{"n":"x"}"#, r#"{"m":1}"#, r#"{"n":-1}"#, r#"{"n":"inf"}"#];
    for (on_error, left) in [(OnError::Pass, 5), (OnError::Discard, 1)] {
        let sum = metric("{ name: x, type: counter, value: n }");
        let step = StepSpec::Ordered(Arc::clone(&sum) as Arc<dyn Ordered>).on_error(on_error);
        assert_eq!(run(vec![step], &texts), left);
        assert_eq!(numbers(&sum), [(String::new(), 1, 1.0, vec![])]);
    }
}

#[test]
fn label_sets_beyond_the_bound_count_in_one_and_known_ones_go_on() {
    let metric = metric("{ name: x, type: counter, labels: { a: a, b: b }, max_series: 2 }");
    let texts =
        [r#"{"a":1,"b":1}"#, r#"{"a":2,"b":1}"#, r#"{"a":3,"b":1}"#, r#"{"a":4}"#, r#"{"a":1,"b":1}"#];
    run(vec![planned(&metric)], &texts);
    run(vec![planned(&metric)], &texts);
    let counts: Vec<_> = numbers(&metric).into_iter().map(|(labels, count, ..)| (labels, count)).collect();
    let expected = [("1,1", 4), ("2,1", 2), ("__overflow__,__overflow__", 4)];
    assert_eq!(counts, expected.map(|(labels, count)| (labels.to_owned(), count)));
    assert_eq!(metric.numbers().overflowed, 4);
}

#[test]
fn what_a_step_before_it_takes_out_does_not_count_and_what_one_behind_does_counts() {
    let (before, behind) = (metric("{ name: x, type: counter }"), metric("{ name: y, type: counter }"));
    let dedupe: DedupeConfig = serde_yaml::from_str("{ fields: a, emit: nothing }").unwrap();
    let dedupe = StepSpec::Ordered(dedupe.make().unwrap_or_else(|_| panic!("it is one"))).into();
    assert_eq!(run(vec![planned(&before), dedupe, planned(&behind)], &[r#"{"a":1}"#; 4]), 1);
    assert_eq!((numbers(&before)[0].1, numbers(&behind)[0].1), (4, 1));
}

#[test]
fn keys_that_do_not_fit_together_are_named() {
    for (yaml, key) in [
        ("{ name: x, type: gauge }", "type"),
        ("{ name: x, type: histogram, value: n }", "type"),
        ("{ name: x, type: counter, buckets: [1] }", "buckets"),
        ("{ name: x, type: histogram, value: n, buckets: [] }", "buckets"),
        ("{ name: x, type: histogram, value: n, buckets: [1, 1] }", "buckets"),
        ("{ name: x, type: histogram, value: n, buckets: [1], labels: { le: a } }", "labels"),
        ("{ name: x, type: counter, labels: { __a: a } }", "labels"),
        ("{ name: x, type: counter, labels: { a-b: a } }", "labels"),
    ] {
        assert_eq!(config(yaml).misfit().map(|misfit| misfit.key.0), Some(key), "{yaml}");
    }
    for name in ["1x", "a-b", "", "a:b", "dispatcher_x", "process_x"] {
        assert!(
            serde_yaml::from_str::<MetricConfig>(&format!("{{ name: '{name}', type: counter }}")).is_err(),
            "{name}"
        );
    }
}
